"""Files both ways (§2.8, §2.9): what people send is where the agent finds it, what it sends arrives byte for byte."""

import base64
import hashlib
import io
import json
import os
import secrets
import zipfile
from typing import Any

import pytest

from eventually import wait_until
from nanoclaw_runner.contract.files import MAX_BYTES
from system.appliance import Person, SessionNames, call, rows, session_of
from system.loopback import Delivery, file
from system.town import Town

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
BOSS = "boss"
_WORDS = "The sluice opens at noon"
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
DOCUMENTS = {
    "docx2txt '{}' -": (
        "letter.docx",
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{_PACKAGE}"/>',
            "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>{_WORDS}</w:t></w:r></w:p>'
            "</w:body></w:document>",
        },
    ),
    "odt2txt '{}'": (
        "letter.odt",
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f'<office:document-content xmlns:office="{_OFFICE}" xmlns:text="{_TEXT}"><office:body>'
            f"<office:text><text:p>{_WORDS}</text:p></office:text></office:body></office:document-content>",
        },
    ),
    "xlsx2csv '{}'": (
        "table.xlsx",
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
            "xl/workbook.xml": f'<workbook xmlns="{_SHEETS}" xmlns:r="{_RELATIONS}"><sheets>'
            '<sheet name="one" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1"'
            f' Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_SHEETS}"><sheetData><row r="1"><c r="A1" t="inlineStr">'
            f"<is><t>{_WORDS}</t></is></c></row></sheetData></worksheet>",
        },
    ),
}
"""Commands that give a document's text, and the parts of a smallest document of their kind."""


def pdf(text: str) -> bytes:
    """Return a PDF of one page that says a text."""
    drawn = f"BT /F1 18 Tf 40 100 Td ({text}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    written, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(parts) + 1, table)
    return written + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, start)


def call_of(tool: str, **arguments: object) -> str:
    return f"!call {tool} {json.dumps(arguments)}"


class Room:
    """A chat with the agent."""

    def __init__(self, town: Town) -> None:
        town.grant(BOSS)
        self.town = town
        self.chat = town.chat(town.loop)

    def say(self, text: str, **more: Any) -> str:
        return self.town.say(self.town.loop, self.chat, text, by=BOSS, **more)

    def told(self, text: str, words: str) -> str:
        """Say something; return the answer that has these words."""
        after = len(self.town.loop.deliveries)
        self.say(text)
        return self.town.loop.hears(self.chat, words, after=after).text

    def sent(self, name: str) -> Delivery:
        """Wait for a file."""
        return self.town.loop.wait(
            lambda one: one.chat == self.chat and any(found["name"] == name for found in one.files), f"the file {name}"
        )

    @property
    def session(self) -> SessionNames:
        return session_of(self.town.group)

    def attachments(self, message: str) -> list[dict[str, Any]]:
        """Return what the agent's row of a message says of its files."""
        row = f"{message}:{self.town.group}"
        ((content,),) = rows(self.session.inbound_db, "SELECT content FROM messages_in WHERE id = ?", row)
        found: list[dict[str, Any]] = json.loads(content)["attachments"]
        return found


def test_what_people_send_is_where_the_agent_reads_it(town: Town) -> None:
    """§2.8: names made safe and unique, types by the content, what can't be had is told; the message is never lost."""
    room = Room(town)
    message = room.say(
        "look at these",
        files=[
            file("photo.jpg", PNG, media_type="image/jpeg", size=7),
            file("notes.txt", b"the first"),
            file("notes.txt", b"the second"),
            file("../../etc/passwd", b"root::0:0"),
            file("a b;$(reboot) \N{GRINNING FACE}.txt", b"spaced"),
            file("busy.txt", b"late", times=2),
            file("film.mkv", b"", size=MAX_BYTES + 1),
            file("lost.txt", None),
        ],
    )
    town.loop.hears(room.chat, "echo: look at these", 60)
    found = room.attachments(message)
    assert [one["name"] for one in found] == [
        "photo.jpg",
        "notes.txt",
        "notes-2.txt",
        "attachment-4.txt",
        "a b;$(reboot) \N{GRINNING FACE}.txt",
        "busy.txt",
        "film.mkv",
        "lost.txt",
    ]
    assert (found[0]["type"], found[0]["size"]) == ("image/png", len(PNG))
    assert ["MiB together" in found[6]["problem"], "no more" in found[7]["problem"]] == [True, True]
    for one, content in zip(found[1:6], ["the first", "the second", "root::0:0", "spaced", "late"], strict=True):
        path = f"/session/in/{one['path']}"
        assert f"read {path}: {content}" in room.told(f"!read {path}", "read ")
        assert "write: " in room.told(f"!write {path} changed", "write")
    assert (room.session.directory / "in" / found[0]["path"]).read_bytes() == PNG


def test_the_text_of_a_pdf_is_read_by_a_tool_of_the_image(town: Town) -> None:
    """Documents are files like any other; what gives their text is in the image, without a network."""
    room = Room(town)
    message = room.say("what does it say?", files=[file("report.pdf", pdf("The sluice opens at noon."))])
    town.loop.hears(room.chat, "echo: what does it say?")
    (found,) = room.attachments(message)
    assert found["type"] == "application/pdf"
    path = f"/session/in/{found['path']}"
    said = room.told(call_of("run_command", command=f"pdftotext -layout {path} -"), "call run_command")
    assert "The sluice opens at noon." in said
    tools = "docx2txt odt2txt xlsx2csv catdoc xls2csv catppt pdftoppm"
    said = room.told(call_of("run_command", command=f"command -v {tools} | wc -l"), "call run_command")
    assert str(len(tools.split())) in said


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_text_of_office_documents_is_read_by_tools_of_the_image(person: Person, command: str) -> None:
    """Word processors' and spreadsheets' files, sent by a terminal."""
    name, parts = DOCUMENTS[command]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in parts.items():
            archive.writestr(path, text)
    upload = secrets.token_hex(8)
    call("Chat.Upload", upload=upload, offset=0, data=base64.b64encode(packed.getvalue()).decode())
    person.ask("hello")
    files = [{"upload": upload, "name": name}]
    sent = call("Chat.Send", group=person.group, text="", client_token=upload, files=files)
    row = "SELECT content FROM messages_in WHERE id = ?"
    ((content,),) = rows(session_of(person.group).inbound_db, row, sent["message_id"])
    (found,) = json.loads(content)["attachments"]
    path = f"/session/in/{found['path']}"
    said = person.ask(call_of("run_command", command=command.format(path))).text
    assert "The sluice opens at noon" in said, said


def test_what_the_agent_sends_arrives_byte_for_byte(town: Town) -> None:
    """F-55: small and large, from the workspace, /tmp and what was received; `out/files` is empty afterwards."""
    room = Room(town)
    content = os.urandom(300_000)
    message = room.say("keep this", files=[file("data.bin", content)])
    town.loop.hears(room.chat, "echo: keep this")
    (found,) = room.attachments(message)
    received = f"/session/in/{found['path']}"
    room.told(call_of("run_command", command=f"cp '{received}' copy.bin; printf hello > /tmp/small.txt"), "run_command")
    for path, name, expected in (
        (received, "data.bin", content),
        ("copy.bin", "copy.bin", content),
        ("/tmp/small.txt", "small.txt", b"hello"),
    ):
        assert "delivered as #" in room.told(call_of("send_file", path=path), "call send_file")
        (sent,) = room.sent(name).files
        assert (sent["size"], sent["sha256"]) == (len(expected), hashlib.sha256(expected).hexdigest())
        if sent["data"] is not None:
            assert base64.b64decode(sent["data"]) == expected
    left = room.session.directory / "out" / "files"
    wait_until(lambda: not list(left.iterdir()), "what was sent is removed")


def test_what_is_no_file_of_its_own_is_refused_with_the_reason(town: Town) -> None:
    """§2.9, W-78: links, pipes, devices, directories, other places: the tool says why, and nothing goes out."""
    room = Room(town)
    room.told(
        call_of(
            "run_command",
            command="mkfifo pipe; ln -s /etc/passwd link; ln -s / root; mkdir -p dir; echo x > plain;"
            f" truncate -s {MAX_BYTES + 1} huge",
        ),
        "call run_command",
    )
    refused = {
        "pipe": "no regular file",
        "link": "is a link",
        "root/etc/passwd": "is a link",
        "dir": "no regular file",
        "../etc/passwd": "leads out",
        "/dev/zero": "files can be sent from",
        "/proc/self/environ": "files can be sent from",
        "gone": "file not found",
        "huge": "can be sent",
    }
    for path, reason in refused.items():
        room.told(call_of("send_file", path=path), reason)
    room.told(call_of("send_file", path="plain", filename="../../x"), "plain name")
    assert not [one for one in town.loop.deliveries if one.chat == room.chat and one.files]
    assert list((room.session.directory / "out" / "files").iterdir()) == []


def test_a_file_that_vanishes_before_it_goes_is_told(town: Town) -> None:
    """A delivery that is tried again finds it gone: a reason for the people, and no message without its file."""
    room = Room(town)
    room.told("hello", "echo: hello")
    town.loop.fail(times=1, reason="the platform is busy")
    room.say("!file gone.txt here")
    directory = room.session.directory / "out" / "files"
    wait_until(lambda: list(directory.iterdir()), "it waits to be sent")
    for path in directory.iterdir():
        path.unlink()
    assert "gone.txt" in town.loop.hears(room.chat, "there is no file", 60).text
    assert not [one for one in town.loop.deliveries if one.files]


def test_a_file_goes_to_and_from_a_terminal(person: Person) -> None:
    """The daemon reads no file of a caller by its path: bytes come and go over the socket, in bounded parts."""
    content = os.urandom(700_000)
    for offset in (0, 500_000):
        part = base64.b64encode(content[offset : offset + 500_000]).decode()
        size = call("Chat.Upload", upload="upload-of-a-test", offset=offset, data=part)["size"]
    assert size == len(content)
    person.ask("hello")
    message = call(
        "Chat.Send",
        group=person.group,
        text="look",
        client_token="token-of-a-test",
        files=[{"upload": "upload-of-a-test", "name": "data.bin"}],
    )["message_id"]
    person.wait(lambda event: event.text == "echo: look", "the answer")
    session = session_of(person.group)
    ((row,),) = rows(session.inbound_db, "SELECT content FROM messages_in WHERE id = ?", message)
    (found,) = json.loads(row)["attachments"]
    assert (session.directory / "in" / found["path"]).read_bytes() == content
    person.ask(call_of("send_file", path=f"/session/in/{found['path']}"))
    shown = person.wait(lambda event: event.files, "the file")
    (sent,) = shown.files
    received = b""
    while len(received) < sent["size"]:
        received += base64.b64decode(call("Chat.Download", file=sent["id"], offset=len(received))["data"])
    assert (sent["name"], received) == ("data.bin", content)
