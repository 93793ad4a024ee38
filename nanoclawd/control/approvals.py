"""io.nanoclaw.Approvals and Questions: what waits for somebody's answer."""

from nanoclawd.control.api import ApprovalsBackend, QuestionsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary
from nanoclawd.control.values import Caller, Peer

APPROVALS = "io.nanoclaw.Approvals"
QUESTIONS = "io.nanoclaw.Questions"


class _List(Listing, frozen=True):
    all: bool | None = None


class _Approval(Parameters, frozen=True):
    approval: Reference


class _Decide(_Approval, frozen=True):
    option: Reference


def approvals(backend: ApprovalsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Approvals."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"approvals": await backend.list(call.bound, decided=bool(call.all))}

    async def get(_caller: Caller, call: _Approval) -> object:
        return {"approval": await backend.get(call.approval)}

    async def decide(peer: Peer, call: _Decide) -> object:
        approval, message = await backend.decide(peer, call.approval, call.option)
        return {"approval": approval, "message": message}

    return {
        f"{APPROVALS}.List": Unary(_List, list_all),
        f"{APPROVALS}.Get": Unary(_Approval, get),
        f"{APPROVALS}.Decide": Unary(_Decide, decide),
    }


class _ListQuestions(Listing, frozen=True):
    group: Name | None = None


class _Question(Parameters, frozen=True):
    question: Reference


class _Answer(_Question, frozen=True):
    option: Reference


def questions(backend: QuestionsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Questions."""

    async def list_all(_caller: Caller, call: _ListQuestions) -> object:
        return {"questions": await backend.list(call.group, call.bound)}

    async def get(_caller: Caller, call: _Question) -> object:
        return {"question": await backend.get(call.question)}

    async def answer(peer: Peer, call: _Answer) -> object:
        return {"message": await backend.answer(peer, call.question, call.option)}

    return {
        f"{QUESTIONS}.List": Unary(_ListQuestions, list_all),
        f"{QUESTIONS}.Get": Unary(_Question, get),
        f"{QUESTIONS}.Answer": Unary(_Answer, answer),
    }
