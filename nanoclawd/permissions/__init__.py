"""Who is asked before something happens: approvals and their cards, unknown people and chats, agents' questions."""
