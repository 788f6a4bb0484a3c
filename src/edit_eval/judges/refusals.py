"""Whether a reply that gives no answer says that its writer will not answer.

A refusal is a first person (or an apology, where a language leaves the person out), a negation, and a verb of answering or
judging, in one sentence. That an *editor* could not do something is none. Knows no rubric. Standard library only.
"""

from __future__ import annotations

import re

__all__ = ["is_refusal"]

_LOOKED_AT = 1000
"""Characters at the beginning of a reply within which a refusal stands; bounds the time, too."""

_ENGLISH = (
    r"\b(?:I|we)(?: am| are|['’](?:m|re))?(?: \w+)??"
    r" (?:can(?:no|['’])?t|can not|could not|couldn['’]t|won['’]t|will not|not able to|unable to)"
    r"(?: \w+)??(?: be able to)? (?:help(?! but\b| \w+ing\b)|assist|comply|fulfill?|provide|engage|evaluate|assess|judge|rate"
    r"|score|answer|respond|process|continue|complete|analy[sz]e|review|discuss|do (?:that|this|so)"
    r"|(?:view|see|access|open)(?: \w+){0,2} (?:image|picture|photo|attachment|file)s?)\b"
    r"|\b(?:I|we) (?:must|have to|need to)(?: \w+)?? (?:decline|refuse)\b"
    r"|\b(?:I|we) (?:(?:respectfully|politely) )?(?:decline|refuse) to\b"
    r"|\bI(?: am|['’]m) not comfortable \w+ing\b|\bI (?:do not|don['’]t) (?:feel comfortable|have the (?:ability|capability))\b"
    r"|\bsorry,? (?:but )?can(?:no|['’])?t (?:help|assist|comply|answer|do (?:that|this|so))\b"
)
_CHINESE = (
    r"(?:(?:我|我们|我們)(?!们|們|认为|認為|觉得|覺得|看|发现|發現|注意)[^。！？!?，,；;\n]{0,6}?"
    r"|(?:抱歉|对不起|對不起|不好意思)[^。！？!?\n]{0,12}?)"
    r"(?:无法|無法|不能|不可以|不便|不会|不會|不方便|没有办法|没办法|沒辦法|拒绝|拒絕)[^。！？!?\n]{0,20}?"
    r"(?:提供|协助|協助|帮|幫|回答|回应|回應|评价|評價|评估|評估|评分|評分|打分|完成|处理|處理|满足|滿足|继续|繼續"
    r"|讨论|討論|评论|評論|分析|判断|判斷|执行|執行|给出|給出)"
)
_JAPANESE = (
    r"(?:申し訳|すみません|すいません|ごめんなさい|恐れ入り|残念ながら|私(?:は|に|と|では))[^！？!?\n]{0,80}?"
    r"(?:評価|判断|判定|採点|回答|返答|対応|提供|協力|支援|実行|処理|続行|分析|コメント|サポート)[^。！？!?\n]{0,12}?"
    r"(?:でき(?:ません|かねます|ない)|しかねます|お断り|控えさせて)"
    r"|お(?:手伝い|答え|応え|力になる|役に立)[^。！？!?\n]{0,8}?(?:でき(?:ません|かねます|ない)|てません)"
    r"|お断り(?:し|いた|致|させ)|差し控えさせていただ"
)
_KOREAN = (
    r"(?:죄송|미안|유감|저는|제가|저로서는)[^!?\n]{0,60}?(?:평가|판단|판정|채점|답변|응답|제공|수행|처리|진행|분석|대답|협조)"
    r"[^.!?\n]{0,12}?(?:수\s?(?:가\s)?없|않겠|거절|거부|불가|어렵)"
    r"|(?:도와|도움을?)\s?(?:드릴|줄)\s?수\s?(?:가\s)?없"
)
_GERMAN = (
    r"\b(?:(?:ich|wir) (?:kann|können|darf|dürfen|werde|werden)|(?:kann|können|darf|dürfen|werde|werden) (?:ich|wir))\b"
    r"[^.!?\n]{0,60}?\b(?:nicht|keine?[nmrs]?)\b[^.!?\n]{0,60}?\b(?:weiter)?"
    r"(?:helfen|unterstützen|beantworten|antworten|bewerten|beurteilen|einschätzen|analysieren|bereitstellen|nachkommen"
    r"|erfüllen|fortfahren|vergeben|abgeben|geben|vornehmen|dienen|entsprechen|kommentieren)\b"
    r"|\b(?:ich bin|wir sind|bin ich|sind wir)[^.!?\n]{0,30}? (?:nicht in der Lage|außerstande)\b"
    r"|\b(?:ich|wir) (?:muss|müssen)[^.!?\n]{0,60}? ablehnen\b"
)
_FRENCH = (
    r"\b(?:je|nous) (?:ne |n['’])(?:\w+ )?(?:peux|puis|pouvons|vais|allons|pourrai|pourrais|saurais|suis|sommes)\b"
    r"[^.!?\n]{0,60}?\b(?:aider|assister|évaluer|noter|juger|répondre|fournir|donner|traiter|continuer|poursuivre|analyser"
    r"|satisfaire|procéder|effectuer|accomplir|commenter)\b"
    r"|\bje (?:dois|me vois contrainte?|suis contrainte?)[^.!?\n]{0,30}? (?:refuser|décliner)\b"
    r"|\bje refuse (?:de |d['’])|\bil m['’]est impossible (?:de |d['’])"
)
_ANSWER_ES_PT = (
    r"(?:ayud|ajud|asist|evalu|avali|calific|puntu|pontu|juzg|julg|respond|proporcion|fornec|oferec|ofrec|cumpl|cumpr|continu"
    r"|analiz|analis|proces|atend|coment|prossegu|realiz)\w*"
)
_SPANISH = (
    r"\b(?:no (?:puedo|podemos|podré|podría|me es posible|estoy en condiciones de|soy capaz de)|lamento no poder)"
    rf"(?: \w+){{0,4}}? {_ANSWER_ES_PT}\b"
    r"|\b(?:debo (?:negarme|rechazar|declinar)|me niego a)\b"
)
_PORTUGUESE = (
    r"\b(?:não (?:posso|podemos|consigo|poderei|poderia|me é possível|estou em condições de|sou capaz de)|lamento não poder)"
    rf"(?: \w+){{0,4}}? {_ANSWER_ES_PT}\b"
    r"|\b(?:devo (?:recusar|declinar)|recuso-me a|me recuso a)\b"
)
_ITALIAN = (
    r"\bnon (?:posso|possiamo|potrei|sono in grado di|mi è possibile)(?: \w+){0,4}?"
    r" (?:aiut|assist|valut|giudic|rispond|forni|dar|continu|prosegui|analizz|elabor|soddisf|comment|esegui)\w*\b"
    r"|\b(?:devo (?:rifiutar|declinar)\w*|mi rifiuto di)\b"
)
_RUSSIAN = (
    r"\b(?:не (?:могу|можем|смогу|сможем|в состоянии|имею возможности|буду|стану))\b[^.!?\n]{0,40}?"
    r"\b(?:помо[чг]|оцен|ответ|отвеч|выполн|предостав|дать|дава|обработ|продолж|проанализ|анализ|обсужд|судить|постав"
    r"|удовлетвор|коммент)\w*"
    r"|\b(?:вынужден[аы]?[^.!?\n]{0,20}? (?:отказать|отклонить)\w*|отказываюсь)\b"
)
_ARABIC = (
    r"(?:لا (?:أستطيع|يمكنني|أقدر)|لن (?:أتمكن|أستطيع))[^.!?؟\n]{0,30}?"
    r"(?:تقييم|مساعد|الإجابة|تقديم|تحليل|إكمال|معالجة|الحكم)"
)
_LANGUAGES = (
    _ENGLISH,
    _CHINESE,
    _JAPANESE,
    _KOREAN,
    _GERMAN,
    _FRENCH,
    _SPANISH,
    _PORTUGUESE,
    _ITALIAN,
    _RUSSIAN,
    _ARABIC,
)
_REFUSAL = re.compile("|".join(_LANGUAGES), re.IGNORECASE)


def is_refusal(prose: str) -> bool:
    """Return whether `prose` begins by saying, in one of eleven languages, that it will not answer, and has no digit.

    A digit anywhere may be a score: such a reply is no plain refusal. Takes bounded time beside looking for digits.
    """
    return re.search(r"\d", prose) is None and _REFUSAL.search(prose, 0, _LOOKED_AT) is not None
