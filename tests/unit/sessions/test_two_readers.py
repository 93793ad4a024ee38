"""Readers of container databases beside each other."""

from session_stage import Stage

from nanoclawd.sessions.outbound import OutboundReader


async def test_a_second_reader_does_not_take_the_first_ones_place(stage: Stage):
    readers = [OutboundReader() for _ in range(3)]
    stage.write_out("r1")
    for reader in (*readers, *reversed(readers)):
        assert [row.id for row in reader.read(stage.paths.outbound_db, after_seq=0, pending_ids=()).rows] == ["r1"]
