"""Emoji by their names: chats want the character, models like to write the name."""

import re
import unicodedata
from typing import Final

MAX_CHARACTERS: Final = 16
_KEYCAP: Final = re.compile("[0-9#*]\ufe0f?\u20e3")
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f\u20e3\U000e007f")
_SIGNS: Final = frozenset({"So", "Sk", "Sm"})
_PUNCTUATION: Final = frozenset("‼⁉〰〽")

# The names that chat platforms use, where Unicode calls the character something else.
_CHARACTERS: Final = (
    "+1=👍 -1=👎 thumbsup=👍 thumbsdown=👎 thumbs_up=👍 thumbs_down=👎 ok=🆗 ok_hand=👌 clap=👏"
    " wave=👋 pray=🙏 muscle=💪 raised_hands=🙌 raised_hand=✋ point_up=☝️ point_down=👇"
    " point_left=👈 point_right=👉 crossed_fingers=🤞 v=✌️ handshake=🤝 fist=✊ punch=👊 metal=🤘"
    " call_me=🤙 writing_hand=✍️ eyes=👀 heart=❤️ red_heart=❤️ orange_heart=🧡 yellow_heart=💛"
    " green_heart=💚 blue_heart=💙 purple_heart=💜 black_heart=🖤 white_heart=🤍 broken_heart=💔"
    " sparkling_heart=💖 two_hearts=💕 smile=😄 smiley=😃 grin=😁 grinning=😀 joy=😂 rofl=🤣"
    " laughing=😆 slight_smile=🙂 slightly_smiling_face=🙂 upside_down=🙃 wink=😉 blush=😊"
    " innocent=😇 heart_eyes=😍 star_struck=🤩 kissing_heart=😘 yum=😋 sunglasses=😎 nerd=🤓"
    " thinking=🤔 thinking_face=🤔 neutral_face=😐 expressionless=😑 no_mouth=😶 smirk=😏"
    " unamused=😒 rolling_eyes=🙄 grimacing=😬 relieved=😌 sleepy=😪 sleeping=😴 mask=😷 sick=🤒"
    " dizzy_face=😵 exploding_head=🤯 partying_face=🥳 confused=😕 worried=😟 frowning=☹️"
    " open_mouth=😮 astonished=😲 flushed=😳 pleading=🥺 cry=😢 sob=😭 scream=😱 angry=😠 rage=😡"
    " triumph=😤 skull=💀 poop=💩 clown=🤡 ghost=👻 alien=👽 robot=🤖 facepalm=🤦 shrug=🤷 tada=🎉"
    " party=🎉 confetti_ball=🎊 balloon=🎈 gift=🎁 trophy=🏆 medal=🏅 100=💯 fire=🔥 sparkles=✨"
    " star=⭐ star2=🌟 boom=💥 zap=⚡ bulb=💡 rocket=🚀 check=✅ white_check_mark=✅"
    " heavy_check_mark=✔️ check_mark=✔️ x=❌ cross=❌ cross_mark=❌ warning=⚠️ question=❓"
    " exclamation=❗ bangbang=‼️ no_entry=⛔ stop=🛑 no_entry_sign=🚫 hourglass=⌛ watch=⌚"
    " alarm_clock=⏰ clock=🕐 calendar=📅 pushpin=📌 paperclip=📎 memo=📝 pencil=✏️ book=📖 books=📚"
    " mag=🔍 lock=🔒 unlock=🔓 key=🔑 wrench=🔧 hammer=🔨 gear=⚙️ link=🔗 bell=🔔 no_bell=🔕 email=📧"
    " envelope=✉️ phone=📞 computer=💻 chart=📈 chart_with_upwards_trend=📈"
    " chart_with_downwards_trend=📉 moneybag=💰 dollar=💵 coffee=☕ tea=🍵 beer=🍺 pizza=🍕 cake=🍰"
    " apple=🍎 sun=☀️ sunny=☀️ cloud=☁️ rain=🌧️ umbrella=☔ snowflake=❄️ rainbow=🌈 moon=🌙"
    " earth=🌍 globe=🌐 dog=🐶 cat=🐱 bug=🐛 snake=🐍 turtle=🐢 tree=🌳 seedling=🌱 rose=🌹 house=🏠"
    " car=🚗 airplane=✈️ train=🚆 bike=🚲 ship=🚢 flag=🏁 red_circle=🔴 yellow_circle=🟡"
    " green_circle=🟢 blue_circle=🔵 repeat=🔁 arrows_counterclockwise=🔄 recycle=♻️ arrow_up=⬆️"
    " arrow_down=⬇️ arrow_left=⬅️ arrow_right=➡️ up=🆙 new=🆕 free=🆓 sos=🆘 see_no_evil=🙈"
    " hear_no_evil=🙉 speak_no_evil=🙊"
)
_NAMED: Final = dict(pair.split("=", 1) for pair in _CHARACTERS.split())


def emoji_of(text: str) -> str | None:
    """Return the emoji that a text is or names (``thumbs_up``, ``:fire:``), None where it is none."""
    wanted = text.strip()
    name = wanted.strip(":").lower()
    named = _NAMED.get(name) or _NAMED.get(name.replace("-", "_").replace(" ", "_"))
    if named is not None:
        return named
    if _is_emoji(wanted):
        return wanted
    try:
        found = unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return None
    return found if _is_emoji(found) else None


def _is_emoji(text: str) -> bool:
    if _KEYCAP.fullmatch(text):
        return True
    signs = [one for one in text if one not in _JOINERS and not _is_tag(one)]
    return 0 < len(text) <= MAX_CHARACTERS and bool(signs) and all(_is_sign(one) for one in signs)


def _is_sign(one: str) -> bool:
    # What is on a keyboard ("+", "^", "<") is of these categories, too.
    return (unicodedata.category(one) in _SIGNS and not one.isascii()) or one in _PUNCTUATION


def _is_tag(one: str) -> bool:
    """Tell whether a character spells a flag's region."""
    return "\U000e0020" <= one <= "\U000e007e"
