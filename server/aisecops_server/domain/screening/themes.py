"""The same intentions in many languages and under many spellings: word stems that stand close together.

A theme is there when one stem of each of its roles occurs within a short stretch of squeezed text, in any order: word
order differs from language to language, and squeezed text has no words. English has phrases of its own, so here it
counts only where the stems were spelled to escape those.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import ahocorasick

from aisecops_server.domain.screening.letters import SQUEEZED, WORDS
from aisecops_server.domain.screening.reading import Spelled

# Stands between the words of a stem.
JOINT = "_"
# In squeezed letters: some ten words of a spaced script.
_STRETCH = 56
_FEWEST_MARKS = 2


@dataclass(frozen=True, slots=True)
class Theme:
    """Stems by role. ``disguised_only``: it counts only where a stem is not plain to see."""

    detector: str
    roles: tuple[str, ...]
    disguised_only: bool = False


_OVERRIDE = "injection.override"
_LEAK = "injection.prompt_leak"
_PERSONA = "injection.persona"
_EXFILTRATION = "injection.exfiltration"
_CONCEALMENT = "injection.concealment"

THEMES = (
    Theme(
        _OVERRIDE,
        (
            "ignore disregard forget overrid bypass",
            "previous prior earlier above preceding foregoing original initial system",
            "instruction prompt rule guideline directive command constraint",
        ),
        disguised_only=True,
    ),
    Theme(
        _LEAK,
        (
            "reveal print repeat output display show leak",
            "system_prompt initial_prompt hidden_prompt secret_prompt system_instruction",
        ),
        disguised_only=True,
    ),
    Theme(_PERSONA, ("do_anything_now developer_mode_enabled jailbreak_mode dan_mode",), disguised_only=True),
    Theme(
        _CONCEALMENT,
        ("do_not_tell_the_user dont_tell_the_user without_telling_the_user do_not_inform_the_user",),
        disguised_only=True,
    ),
    # German
    Theme(
        _OVERRIDE,
        (
            "ignorier missacht vergiss vergesst vergessensie übergeh uebergeh verwirf hinwegsetzen",
            (
                "vorherig bisherig obig früher frueher zuvor vorstehend vorangegangen ursprünglich "
                "alleanweisung alleregeln alledeine deineanweisung deineregeln"
            ),
            "anweisung instruktion regeln vorgabe befehl richtlinie prompt",
        ),
    ),
    # French
    Theme(
        _OVERRIDE,
        (
            (
                "ignorez ignoreles ignoretoutes ignoretes ignorevos oublie négligez nesuispas netenezpascompte "
                "netienspascompte outrepass contourn"
            ),
            (
                "précédent antérieur cidessus initial touteslesinstructions touteslesconsignes "
                "vosinstructions tesinstructions"
            ),
            "instruction consigne directive règle prompt",
        ),
    ),
    # Spanish
    Theme(
        _OVERRIDE,
        (
            "ignora ignorelas ignoretodas olvida olvide descarta descarte nosigas nohagascaso hazcasoomiso pasaporalto",
            "anterior previa previo dearriba inicial todaslasinstrucciones tusinstrucciones",
            "instruccion indicacion ordenes reglas directri prompt",
        ),
    ),
    # Portuguese
    Theme(
        _OVERRIDE,
        (
            "ignora ignoreas ignoretodas esqueça esqueca esquece desconsider descart",
            "anterior anteriores prévia previa acima inicial todasasinstruções suasinstruções",
            "instruções instrucoes instrução diretri regras comandos prompt",
        ),
    ),
    # Italian
    Theme(
        _OVERRIDE,
        (
            "ignora ignori dimentica scorda trascura nontenereconto",
            "precedent anterior disopra soprastant inizial tutteleistruzioni tueistruzioni",
            "istruzion direttiv regole comandi indicazioni prompt",
        ),
    ),
    # Dutch
    Theme(
        _OVERRIDE,
        (
            "negeer vergeet",
            "vorige voorgaande eerdere bovenstaande voorafgaande oorspronkelijke alleinstructies jeinstructies",
            "instructie opdracht regels aanwijzing richtlijn prompt",
        ),
    ),
    # Swedish, Danish, Norwegian
    Theme(
        _OVERRIDE,
        (
            "ignorera ignorer glöm glem bortse",
            (
                "tidigare tidligere föregående foregående forrige ovanstående ovenstående allainstruktioner "
                "alleinstruktioner alleinstrukser"
            ),
            "instruktion instruks regler anvisning prompt",
        ),
    ),
    # Polish, Czech
    Theme(
        _OVERRIDE,
        (
            "zignoruj ignoruj zapomnij zapomeň pomiń",
            "poprzedni wcześniejsz powyższ předchozí dřívější všechny wszystkie",
            "instrukcj instrukce polece zasad wytyczn pokyny prompt",
        ),
    ),
    # Turkish
    Theme(
        _OVERRIDE,
        (
            "yoksay görmezdengel unut dikkatealma",
            "önceki yukarıdaki tümtalimat bütüntalimat",
            "talimat komut kural yönerge prompt",
        ),
    ),
    # Russian, Ukrainian
    Theme(
        _OVERRIDE,
        (
            "игнорир проигнорир забудь забудьте отбрось неследуй несоблюдай ігноруй забудь",
            "предыдущ прежн вышеуказан вышеприведен ранее всеинструкции попередн всіінструкції",
            "инструкц указани правил команд распоряжени інструкц вказівк промпт",
        ),
    ),
    Theme(
        _LEAK,
        (
            "покажи раскрой выведи назови напечатай покажи",
            "системныйпромпт системногопромпта системнуюинструкцию системнийпромпт системныеинструкции",
        ),
    ),
    # Chinese
    Theme(
        _OVERRIDE,
        (
            "忽略 无视 無視 忘记 忘記 忘掉 不要理会 忽视 忽視 抛开",
            "之前 以前 以上 先前 前面 上述 上面 所有 原有 此前",
            "指令 指示 提示 命令 规则 規則 設定 设定",
        ),
    ),
    Theme(
        _LEAK,
        (
            "显示 顯示 输出 輸出 告诉我 透露 打印 重复 泄露 展示",
            "系统提示 系統提示 系统指令 系统提示词 初始提示 系统消息",
        ),
    ),
    # Japanese
    Theme(
        _OVERRIDE,
        (
            "無視 忘れ 破棄 従わない",
            "以前 これまで 前の 上記 すべて 全て 今まで 上の",
            "指示 命令 プロンプト ルール 指令 規則",
        ),
    ),
    Theme(_LEAK, ("表示 教えて 出力 見せて 開示", "システムプロンプト 初期プロンプト システム指示")),
    # Korean
    Theme(_OVERRIDE, ("무시 잊어 잊으 따르지", "이전 앞의 위의 모든 지금까지 기존", "지시 명령 프롬프트 규칙 지침")),
    Theme(_LEAK, ("보여 알려 출력 공개", "시스템프롬프트 시스템지시 초기프롬프트")),
    # Arabic
    Theme(
        _OVERRIDE,
        ("تجاهل انس تخط", "السابقة السابقه أعلاه جميعالتعليمات كلالتعليمات", "التعليمات الأوامر القواعد الإرشادات"),
    ),
    # Hindi
    Theme(_OVERRIDE, ("अनदेखा नजरअंदाज नज़रअंदाज़ भूल", "पिछले पिछली उपरोक्त पहले सभी", "निर्देश आदेश नियम")),
    # Indonesian, Vietnamese
    Theme(
        _OVERRIDE,
        (
            "abaikan lupakan bỏqua phớtlờ quênđi",
            "sebelumnya diatas trướcđó trướcđây ởtrên phíatrên semuainstruksi tấtcảchỉthị",
            "instruksi perintah aturan hướngdẫn chỉthị quytắc",
        ),
    ),
    # Greek, Hebrew
    Theme(
        _OVERRIDE,
        ("αγνόησε ξέχασε התעלם שכח", "προηγούμεν παραπάνω הקודמות הקודמים", "οδηγίες εντολές κανόνες הוראות הנחיות"),
    ),
    Theme(
        _LEAK,
        (
            (
                "zeig verrate gibdein gibmirdein gibden gibbitte nenne "
                "wiederhole révèle montre affiche répète muestra revela "
                "dime repite mostre revele mostra rivela ripeti toon onthul pokaż ujawnij tampilkan "
                "göster"
            ),
            (
                "systemprompt systemanweisung promptsystème promptdusystème invitesystème "
                "promptdelsistema promptdesistema instruccionesdelsistema promptdosistema "
                "promptdisistema systeeminstructie promptsystemow sistemprompt sistemistemi"
            ),
        ),
    ),
    Theme(
        _PERSONA,
        (
            "dubistjetzt dubistnun spielejetzt tusoalsob abjetztbistdu vonnunanbistdu agierealsein",
            (
                "uneingeschränkt ohneeinschränkung keineeinschränkung ohneregeln keineregeln ungefiltert ohnefilter "
                "unzensiert entwicklermodus"
            ),
        ),
    ),
    Theme(
        _PERSONA,
        (
            "tuesmaintenant vousêtesmaintenant agiscomme faissemblant désormaistu",
            (
                "sansrestriction sansaucunerestriction sanslimite sansfiltre sanscensure sansrègle sansaucunerègle "
                "modedéveloppeur"
            ),
        ),
    ),
    Theme(
        _PERSONA,
        (
            "ahoraeres actúacomo finge apartirdeahora agoravocêé ajacomo finja apartirdeagora",
            (
                "sinrestricc sinlímites sinfiltro sincensura sinreglas ningunarestricc mododesarrollador semrestriç "
                "semlimites semfiltro semregras mododesenvolvedor"
            ),
        ),
    ),
    Theme(
        _PERSONA,
        (
            "oraseiun seioraun agiscicome fingidiessere dorainpoi",
            "senzarestrizion senzalimit senzafiltr senzaregole senzacensura nessunarestrizion modalitàsviluppatore",
        ),
    ),
    Theme(
        _CONCEALMENT,
        (
            (
                "sagdemnutzernicht sagdembenutzernicht informieredennutzernicht informieredenbenutzernicht "
                "ohnedennutzerzu ohnedenbenutzerzu ohnedemnutzer ohnedembenutzer "
                "nedispasàlutilisateur neditesrienàlutilisateur sansinformerlutilisateur sansprévenirlutilisateur "
                "sansendireàlutilisateur ninformepaslutilisateur ninformezpaslutilisateur "
                "noledigasalusuario noselodigasalusuario noinformesalusuario sininformaralusuario sinavisaralusuario "
                "nondireallutente nondirloallutente noninformarelutente senzainformarelutente senzaavvisarelutente "
                "nãodigaaousuário seminformarousuário неговорипользователю "
                "неговоритепользователю 不要告诉用户 别告诉用户 "
                "ユーザーには言わない ユーザーに知らせず 사용자에게말하지마"
            ),
        ),
    ),
    Theme(
        _EXFILTRATION,
        (
            (
                "sende schicke übermittle übertrage envoie envoyez transmets transmettez envía envíe manda reenvía "
                "invia inoltra spedisci envie отправь отправьте 发送 送信して 보내"
            ),
            (
                "passwörter zugangsdaten apischlüssel geheimnisse kundendaten "
                "chatverlauf motsdepasse identifiants clésapi "
                "cléapi donnéesclients historique contraseñas credenciales "
                "clavesapi clavesdeapi datosdeclientes historial "
                "credenziali chiaviapi datideiclienti cronologia senhas credenciais пароли ключиapi 密码 密钥 凭据 "
                "パスワード apiキー 비밀번호"
            ),
            "http www",
        ),
    ),
)


class Hit(NamedTuple):
    """A stem in squeezed text. ``joints``: how many places between words it has when it is written plainly."""

    start: int
    end: int
    joints: int


@dataclass(frozen=True, slots=True)
class FoundTheme:
    """A theme with one stem of each role."""

    theme: Theme
    hits: tuple[Hit, ...]

    @property
    def span(self) -> tuple[int, int]:
        """Return the stretch that holds all of it."""
        return min(hit.start for hit in self.hits), max(hit.end for hit in self.hits)


class _Stem(NamedTuple):
    """A stem in squeezed letters.

    ``meant``: the themes, by number, and the roles that it stands for; ``bits``: the same as one number.
    """

    bits: int
    length: int
    joints: int
    meant: tuple[tuple[int, int], ...]


class ThemeScan:
    """Finds themes in squeezed text, in one pass over it."""

    def __init__(self, themes: tuple[Theme, ...]) -> None:
        self._themes = themes
        places: dict[str, tuple[int, list[tuple[int, int]]]] = {}
        for number, theme in enumerate(themes):
            for role, stems in enumerate(theme.roles):
                for stem in stems.split():
                    places.setdefault(SQUEEZED.read(stem), (stem.count(JOINT), []))[1].append((number, role))
        roles = [(number, role) for number, theme in enumerate(themes) for role in range(len(theme.roles))]
        bit = {place: 1 << at for at, place in enumerate(roles)}
        self._whole = [sum(bit[place] for place in roles if place[0] == number) for number in range(len(themes))]
        self._automaton = ahocorasick.Automaton()
        for letters, (joints, meant) in places.items():
            bits = sum(bit[place] for place in set(meant))
            self._automaton.add_word(letters, _Stem(bits, len(letters), joints, tuple(meant)))
        self._automaton.make_automaton()

    def find(self, squeezed: str) -> Iterator[FoundTheme]:
        """Yield each theme where its stems stand closest together, one after the other.

        Most texts have words of many themes and all roles of none, so it is seen first which themes are whole.
        """
        stems = list(self._automaton.iter(squeezed))
        seen = 0
        for stem in {stem for _, stem in stems}:
            seen |= stem.bits
        there = {number for number, whole in enumerate(self._whole) if seen & whole == whole}
        if not there:
            return
        hits: dict[int, dict[int, list[Hit]]] = {}
        for last, stem in stems:
            hit = None
            for number, role in stem.meant:
                if number in there:
                    hit = hit or Hit(last + 1 - stem.length, last + 1, stem.joints)
                    hits.setdefault(number, {}).setdefault(role, []).append(hit)
        for number, by_role in hits.items():
            theme = self._themes[number]
            yield from (FoundTheme(theme, found) for found in _together(by_role.values()))


def _together(by_role: Collection[list[Hit]]) -> Iterator[tuple[Hit, ...]]:
    """Yield one hit of each role wherever all stand within a stretch, going by the role that occurs least."""
    first, *others = sorted(by_role, key=len)
    starts = [[hit.start for hit in hits] for hits in others]
    end_of_last = 0
    for hit in first:
        if hit.start < end_of_last:
            continue
        found = (hit, *map(_nearest, others, starts, repeat(hit.start)))
        start, end = min(found).start, max(one.end for one in found)
        if end - start <= _STRETCH:
            yield found
            end_of_last = end


def _nearest(hits: list[Hit], starts: list[int], start: int) -> Hit:
    at = bisect_left(starts, start)
    is_before = at == len(hits) or (at > 0 and start - starts[at - 1] <= starts[at] - start)
    return hits[at - 1 if is_before else at]


def is_disguised(found: FoundTheme, seen: Spelled) -> bool:
    """Return whether the stems are spelled so that they cannot be read as words.

    Words may join into a stem by chance, as in "the lab overview"; two such chances at once are none.
    """
    return sum(_marks(hit, seen) for hit in found.hits) >= _FEWEST_MARKS


def _marks(hit: Hit, seen: Spelled) -> int:
    """Return how many signs and stand-ins are among the letters of a stem."""
    first, last = seen.below(hit.start, hit.end)
    given = seen.of.text[first:last]
    if given.isascii() and given.isalpha():
        return -hit.joints
    shown = " ".join(WORDS.read(given).split())
    letters = sum(character.isalpha() for character in shown)
    return len(shown) - letters - hit.joints
