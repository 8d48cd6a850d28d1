"""The shapes of well-known tokens: how each provider's secrets begin and what they consist of.

Written from the providers' own documentation. A token that has no shape of its own, such as a
Datadog key, is known by its name only: see `aof_nb.redact.assignments`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from aof_nb.redact.encodings import unescaped
from aof_nb.redact.spans import Found, Shape, Span, after, ended_by, is_word, token

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{1,100000}(?:\s{1,40}[A-Za-z0-9+/_-]{40,100})*={0,2}")
_DIGIT = re.compile(r"\d")
_HEADER = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?)-----")
_UNFINISHED_HEADER = re.compile(r"-----BEGIN(?: [A-Z0-9 ]{0,60}-{0,5})?\Z")
_LONGEST_KEY = 50_000
_KEY_BODY = re.compile(
    r"(?:(?:[ \t]|\r?\n|\\+[nr])+(?:[A-Z][A-Za-z-]+:[^\n\\]*|[A-Za-z0-9+/=]+)"
    r"(?=[ \t]*(?:[\r\n\\\"']|\Z)))*"
)


def _not_an_example(value: str) -> bool:
    return not value.endswith(("EXAMPLE", "EXAMPLEKEY"))


def _random(value: str) -> bool:
    """Whether what follows a prefix that words have too is no word."""
    head = value[:400]
    digits = len(_DIGIT.findall(head))
    longest = max(len(part) for part in head.split("-"))
    return (digits >= 2 and len(head) >= 40) or (digits >= 1 and longest >= 16)


def _unlike_words(value: str) -> bool:
    return _DIGIT.search(value) is not None and not (value.islower() and "-" in value)


def _has_digit(value: str) -> bool:
    return _DIGIT.search(value) is not None


def _private_key(text: str, start: int, _end: int, whole: bool) -> Found:
    match = _HEADER.match(text, start)
    if match is None:
        return start if not whole and _UNFINISHED_HEADER.match(text, start) else ()
    footer = f"-----END {match[1]}-----"
    place = text.find(footer, match.end(), match.end() + _LONGEST_KEY)
    if place != -1:
        end = place + len(footer)
    elif not whole and len(text) - start < _LONGEST_KEY:
        return start
    else:
        # Cut off, as by the end of what was read: what is there of it is a secret too.
        body = _KEY_BODY.match(text, match.end())
        end = match.end() if body is None else body.end()
    shown = text[start:end].rstrip()
    for encoding in ("json", "json-json") if "\\" in shown else ():
        secret = unescaped(shown, encoding)
        if secret is not None and "\\" not in secret:
            return (Span(start, end, "private-key", secret, encoding, rank=2),)
    return (Span(start, start + len(shown), "private-key", rank=2),)


def _encoded_private_key(text: str, start: int, _end: int, whole: bool) -> Found:
    match = _BASE64_RUN.match(text, start)
    if match is None:
        return ()
    if not whole and match.end() == len(text):
        return start
    encoded = "".join(match[0].split())
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        decoded = ""
    if not _HEADER.match(decoded):
        head = base64.b64decode(encoded[:80]) if len(encoded) >= 80 else b""
        if b"PRIVATE KEY" not in head:
            return ()
        decoded = ""
    exact = bool(decoded) and base64.b64encode(decoded.encode()).decode() == match[0]
    if exact:
        return (Span(start, match.end(), "private-key", decoded, "base64", rank=2),)
    return (Span(start, match.end(), "private-key", rank=2),)


_AUTHORITY = re.compile(r"[^\s/?#\"'<>\\`]{1,1024}")
_LONG_USER = re.compile(r"[A-Za-z0-9_-]{20,4096}")
_SENTRY = re.compile(r"[0-9a-f]{32}")
_NO_PASSWORD = re.compile(
    r"\$\{?[A-Za-z_]\w*\}?|\$\{.*\}|\{\{?.*|<.*|\*+|x{3,}|%[sdv]|\.{3}|\[.*|:?password|pass(?:wd)?|pw|"
    r"PASS(?:WORD)?|REDACTED|redacted|xxxxx|your[-_]?password|change-?me",
)


def _in_url(text: str, _start: int, end: int, whole: bool) -> Found:
    match = _AUTHORITY.match(text, end)
    if match is None:
        return end if not whole and end == len(text) else ()
    if not whole and match.end() == len(text):
        return end
    credentials, separator, host = match[0].rpartition("@")
    if not separator or not host:
        return ()
    user, colon, password = credentials.partition(":")
    if colon:
        if not password or _NO_PASSWORD.fullmatch(password):
            return ()
        begin = end + len(user) + 1
        return (Span(begin, begin + len(password), "url-password", rank=1),)
    if _SENTRY.fullmatch(user):
        return (Span(end, end + len(user), "sentry-dsn", rank=1),)
    if _LONG_USER.fullmatch(user) and _DIGIT.search(user):
        return (Span(end, end + len(user), "url-credential", rank=1),)
    return ()


_TELEGRAM = re.compile(r"AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])")
_AZURE = re.compile(r"[A-Za-z0-9_~.-]{31,36}")


def _telegram(text: str, start: int, end: int, whole: bool) -> Found:
    if not text[max(0, start - 8) : start].isdigit() or start < 8:
        return ()
    begin = end - len("AA")
    if not whole and len(text) - begin <= 35:
        return begin
    match = _TELEGRAM.match(text, begin)
    return () if match is None else (Span(*match.span(), "telegram-bot-token", rank=2),)


def _azure_secret(text: str, start: int, end: int, whole: bool) -> Found:
    before = text[max(0, start - 4) : start]
    if len(before) < 4 or not before[3].isdigit() or not all(_in_secret(c) for c in before):
        return ()
    if not whole and len(text) - end <= 36:
        return end
    match = _AZURE.match(text, end)
    return () if match is None else (Span(*match.span(), "azure-client-secret", rank=2),)


def _in_secret(character: str) -> bool:
    return is_word(character) or character in "_~.-"


def _github() -> Sequence[Shape]:
    part = r"[A-Za-z0-9_-]{10,4096}"
    body = rf"gh[pousr]_[A-Za-z0-9]{{30,4096}}(?:[A-Za-z0-9_-]{{0,4096}}\.{part}\.{part})?"
    return (
        token("github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), body),
        token("github-token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{40,4096}"),
    )


def _gitlab() -> Sequence[Shape]:
    prefixes = (
        "glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glagent-",
        "glimt-", "glffct-", "gloas-", "glwt-",
    )  # fmt: skip
    return (
        token("gitlab-token", prefixes, r"gl[a-z]{2,5}-[A-Za-z0-9_.=-]{18,4096}[A-Za-z0-9_=-]"),
        token("gitlab-token", ("GR1348941",), r"GR1348941[A-Za-z0-9_-]{20,4096}"),
    )


_WORD = "[A-Za-z0-9]"
_TEXT = "[A-Za-z0-9_-]"
_BASE64 = "(?:[A-Za-z0-9+/]|%2[BFbf])"

SHAPES: tuple[Shape, ...] = (
    token(
        "aws-access-key-id",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        r"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
        _not_an_example,
    ),
    token("bedrock-api-key", ("ABSK",), rf"ABSK{_BASE64}{{80,4096}}={{0,2}}"),
    token(
        "bedrock-api-key", ("bedrock-api-key-",), rf"bedrock-api-key-{_BASE64}{{40,4096}}={{0,2}}"
    ),
    *_github(),
    *_gitlab(),
    token(
        "slack-token",
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xoxe."),
        r"xox[abcdeoprs](?:\.xox[bp])?-[A-Za-z0-9%/+=-]{10,4096}",
        _has_digit,
    ),
    token("slack-token", ("xapp-",), r"xapp-\d-[A-Za-z0-9-]{20,4096}"),
    after(
        "slack-webhook",
        ("hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"),
        r"[A-Z0-9][A-Za-z0-9_]{6,4096}/[A-Za-z0-9_]{6,4096}/[A-Za-z0-9_/]{16,4096}",
    ),
    after(
        "discord-webhook",
        ("discord.com/api/webhooks/", "discordapp.com/api/webhooks/"),
        r"\d{15,22}/[A-Za-z0-9_-]{50,4096}",
    ),
    after(
        "teams-webhook",
        ("webhook.office.com/webhookb2/",),
        r"[0-9a-f-]{36}@[A-Za-z0-9_/@-]{60,4096}",
    ),
    token(
        "stripe-key",
        ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "rk_prod_"),
        r"[rs]k_(?:live|test|prod)_[A-Za-z0-9_]{10,4096}",
    ),
    token("webhook-secret", ("whsec_",), rf"whsec_{_BASE64}{{24,4096}}={{0,2}}"),
    token("anthropic-key", ("sk-ant-",), rf"sk-ant-[a-z]+\d\d-{_TEXT}{{40,4096}}"),
    token("openai-key", ("sk-",), rf"sk-{_TEXT}{{20,4096}}", _random),
    token("langfuse-key", ("sk-lf-",), r"sk-lf-[0-9a-f-]{36}"),
    token("google-api-key", ("AIza",), rf"AIza{_TEXT}{{35}}(?!{_TEXT})"),
    token("google-oauth-token", ("ya29.",), r"ya29\.[A-Za-z0-9_.-]{30,4096}[A-Za-z0-9_-]"),
    token("google-oauth-secret", ("GOCSPX-",), rf"GOCSPX-{_TEXT}{{28}}"),
    token("google-refresh-token", ("1//0",), rf"1//0{_TEXT}{{40,4096}}"),
    token("huggingface-token", ("hf_",), rf"hf_{_WORD}{{30,4096}}"),
    token("huggingface-token", ("api_org_",), rf"api_org_{_WORD}{{30,4096}}"),
    token("groq-key", ("gsk_",), rf"gsk_{_WORD}{{40,4096}}"),
    token("xai-key", ("xai-",), rf"xai-{_WORD}{{60,4096}}"),
    token("replicate-token", ("r8_",), rf"r8_{_WORD}{{37}}"),
    token("perplexity-key", ("pplx-",), rf"pplx-{_WORD}{{40,4096}}"),
    token("langsmith-key", ("lsv2_",), r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    token("jwt", ("eyJ",), rf"eyJ{_TEXT}{{5,4096}}\.eyJ{_TEXT}{{5,4096}}\.{_TEXT}{{10,4096}}"),
    token(
        "jwe",
        ("eyJ",),
        rf"eyJ{_TEXT}{{5,4096}}\.{_TEXT}{{0,4096}}\.{_TEXT}{{8,4096}}\.{_TEXT}{{8,4096}}\.{_TEXT}{{8,4096}}",
    ),
    token("grafana-key", ("eyJrIjoi",), rf"eyJrIjoi{_BASE64}{{50,4096}}={{0,2}}"),
    token("grafana-token", ("glsa_",), r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}"),
    token("grafana-token", ("glc_",), rf"glc_eyJ{_BASE64}{{30,4096}}={{0,2}}"),
    Shape("private-key", ("-----BEGIN",), _private_key, begins=True),
    Shape("private-key", ("LS0tLS1CRUdJTi",), _encoded_private_key, begins=True),
    token("age-key", ("AGE-SECRET-KEY-",), r"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{50,4096}"),
    token("npm-token", ("npm_",), rf"npm_{_WORD}{{36}}"),
    token("pypi-token", ("pypi-",), rf"pypi-AgE{_TEXT}{{50,4096}}"),
    token("rubygems-key", ("rubygems_",), r"rubygems_[0-9a-f]{48}"),
    token("crates-io-token", ("cio",), rf"cio{_WORD}{{32}}(?!{_WORD})", _unlike_words),
    token("nuget-key", ("oy2",), r"oy2[a-z0-9]{43}(?![a-z0-9])"),
    token("artifactory-key", ("AKCp",), rf"AKCp\d{_WORD}{{60,4096}}"),
    token("artifactory-token", ("cmVmdGtu",), rf"cmVmdGtu{_BASE64}{{40,4096}}"),
    token("docker-hub-token", ("dckr_pat_", "dckr_oat_"), rf"dckr_[po]at_{_TEXT}{{27,4096}}"),
    token(
        "digitalocean-token",
        ("dop_v1_", "doo_v1_", "dor_v1_"),
        r"do[opr]_v1_[0-9a-f]{64}",
    ),
    token("cloudflare-key", ("v1.0-",), r"v1\.0-[0-9a-f]{24}-[0-9a-f]{140,4096}"),
    token("cloudflare-token", ("cfut_", "cfat_", "cfk_"), rf"cf(?:ut|at|k)_{_WORD}{{30,4096}}"),
    token("heroku-key", ("HRKU-",), rf"HRKU-{_TEXT}{{30,4096}}"),
    token(
        "sentry-token",
        ("sntrys_", "sntryu_", "sntrya_", "sntryi_"),
        r"sntry[suai]_[A-Za-z0-9+/=_]{30,4096}",
    ),
    token("atlassian-token", ("ATATT3", "ATCTT3"), r"AT[AC]TT3[A-Za-z0-9_=-]{60,4096}"),
    token("bitbucket-token", ("ATBB",), rf"ATBB{_WORD}{{24,4096}}"),
    token("hashicorp-vault-token", ("hvs.", "hvb.", "hvr."), rf"hv[sbr]\.{_TEXT}{{24,4096}}"),
    after("terraform-token", (".atlasv1.",), rf"{_TEXT}{{60,4096}}"),
    Shape("telegram-bot-token", (":AA", "%3AAA"), _telegram, begins=False),
    token(
        "discord-token",
        ("MD", "MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT"),
        rf"[MNO][A-Za-z0-9]{{23,27}}\.{_TEXT}{{6}}\.{_TEXT}{{27,38}}(?!{_TEXT})",
    ),
    token("twilio-key", ("SK",), r"SK[0-9a-f]{32}(?![A-Za-z0-9])"),
    token("sendgrid-key", ("SG.",), rf"SG\.{_TEXT}{{16,32}}\.{_TEXT}{{32,64}}"),
    token("mailgun-key", ("key-",), r"key-[0-9a-z]{32}(?![0-9A-Za-z])", _random),
    token("brevo-key", ("xkeysib-",), r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    ended_by("mailchimp-key", "-us", r"[0-9a-f]{32}-us\d{1,2}(?![A-Za-z0-9])"),
    ended_by("newrelic-license-key", "NRAL", r"(?:[0-9a-f]{36}|[0-9a-f]{32}FFFF)NRAL"),
    token(
        "newrelic-key",
        ("NRAK-", "NRAA-", "NRRA-", "NRII-", "NRJS-"),
        rf"NR[A-Z]{{2}}-{_TEXT}{{19,4096}}",
    ),
    token("pagerduty-key", ("u+",), rf"u\+{_TEXT}{{18}}(?!{_TEXT})", _unlike_words),
    token("linear-key", ("lin_api_",), rf"lin_api_{_WORD}{{32,4096}}"),
    token("notion-token", ("ntn_",), rf"ntn_{_WORD}{{40,4096}}"),
    token(
        "shopify-token",
        ("shpat_", "shpca_", "shppa_", "shpss_"),
        r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    ),
    token("square-token", ("sq0atp-", "sq0csp-"), rf"sq0[ac][ts]p-{_TEXT}{{22,4096}}"),
    token("databricks-token", ("dapi",), r"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"),
    token("supabase-token", ("sbp_",), r"sbp_[0-9a-f]{40}"),
    token("supabase-key", ("sb_secret_",), rf"sb_secret_{_TEXT}{{20,4096}}"),
    token("planetscale-token", ("pscale_",), r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{30,4096}"),
    token(
        "fly-token",
        ("fm2_", "fm1r_", "fm1a_", "fo1_"),
        r"f(?:m2|m1r|m1a|o1)_(?:[A-Za-z0-9+/=_-]|%[0-9A-F]{2}){40,4096}",
    ),
    token(
        "doppler-token",
        ("dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."),
        r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,4096}",
    ),
    token("pulumi-token", ("pul-",), r"pul-[0-9a-f]{40}"),
    token("postman-key", ("PMAK-",), r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    token("buildkite-token", ("bkua_",), r"bkua_[0-9a-f]{40}"),
    token(
        "circleci-token",
        ("CCIPAT_", "CCIPRJ_"),
        rf"CCIP(?:AT|RJ)_{_WORD}{{20,4096}}_[0-9a-f]{{40}}",
    ),
    token(
        "dynatrace-token",
        ("dt0c01.", "dt0s01.", "dt0s16."),
        r"dt0[cs]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    ),
    token("honeycomb-key", ("hcaik_", "hcbik_", "hcxik_"), rf"hc[abx]ik_{_WORD}{{40,4096}}"),
    token("sonarqube-token", ("squ_", "sqp_", "sqa_"), r"sq[upa]_[0-9a-f]{40}"),
    token("onepassword-token", ("ops_eyJ",), rf"ops_eyJ{_BASE64}{{100,4096}}={{0,2}}"),
    token(
        "onepassword-key",
        ("A3-",),
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    ),
    token("tailscale-key", ("tskey-",), rf"tskey-[a-z]{{2,20}}-{_WORD}{{4,40}}-{_WORD}{{20,4096}}"),
    token(
        "launchdarkly-key",
        ("sdk-",),
        r"sdk-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    ),
    token("mapbox-token", ("sk.eyJ",), rf"sk\.eyJ{_TEXT}{{30,4096}}\.{_TEXT}{{20,4096}}"),
    token("facebook-token", ("EAA",), rf"EAA{_WORD}{{80,4096}}"),
    token("alibaba-key-id", ("LTAI",), rf"LTAI{_WORD}{{17,26}}(?!{_WORD})"),
    token("yandex-key", ("AQVN",), rf"AQVN{_TEXT}{{35,4096}}"),
    token("netlify-token", ("nfp_",), rf"nfp_{_WORD}{{36,4096}}"),
    token("neon-key", ("napi_",), rf"napi_{_WORD}{{40,4096}}"),
    token("prefect-key", ("pnu_", "pnb_"), rf"pn[ub]_{_WORD}{{36}}"),
    token("resend-key", ("re_",), rf"re_{_WORD}{{8}}_{_WORD}{{24}}(?!{_WORD})"),
    token("flutterwave-key", ("FLWSECK",), r"FLWSECK(?:_TEST)?-[0-9a-zA-Z]{12,4096}(?:-X)?"),
    token("easypost-key", ("EZAK", "EZTK"), rf"EZ[AT]K{_WORD}{{54}}"),
    token("readme-key", ("rdme_",), r"rdme_[a-z0-9]{70}"),
    token("clickhouse-key", ("4b1d",), r"4b1d[A-Za-z0-9]{38}(?![A-Za-z0-9])"),
    token("elastic-key", ("essu_",), rf"essu_{_BASE64}{{40,4096}}={{0,2}}"),
    Shape("azure-client-secret", ("Q~",), _azure_secret, begins=False),
    after(
        "url-signature",
        ("sig=", "ignature="),
        r"[A-Za-z0-9%+/=_-]{30,4096}",
        _has_digit,
    ),
    token(
        "password-hash",
        ("$1$", "$5$", "$6$", "$y$", "$2a$", "$2b$", "$2y$", "$apr1$"),
        r"\$(?:1|5|6|y|2[aby]|apr1)\$[./A-Za-z0-9$=]{22,4096}",
    ),
    token(
        "password-hash", ("$argon2",), r"\$argon2(?:id|i|d)\$v=\d{1,9}\$m=\d{1,9}[^\s\"'`]{30,4096}"
    ),
    Shape("url-password", ("://", ":\\/\\/"), _in_url, begins=False),
)
"""All shapes. Of two that begin alike the longer match counts."""
