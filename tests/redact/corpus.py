"""Several hundred secrets of every kind, and as many harmless texts that look like them.

All of it is made from a seed: nothing here is anybody's. A secret stands in a text such as a tool
prints; a look-alike stands in a text that has to stay as it is.
"""

from __future__ import annotations

import base64
import json
import random
import string
import textwrap
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
WORD = UPPER + LOWER + DIGITS
TEXT = WORD + "-_"
BASE64 = WORD + "+/"
HEX = "0123456789abcdef"
BASE32 = UPPER + "234567"
PER_KIND = 8


@dataclass(frozen=True)
class Secret:
    """A secret in a text.

    Args:
        kind: What it is.
        text: What is printed.
        secret: What of it nobody may see.
    """

    kind: str
    text: str
    secret: str


@dataclass(frozen=True)
class Harmless:
    """A text that holds no secret.

    Args:
        kind: What it looks like.
        text: What is printed.
    """

    kind: str
    text: str


class Maker:
    """Makes random strings, always the same ones."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def some(self, alphabet: str, size: int) -> str:
        """Random characters, of which the first and last are letters or digits."""
        plain = [c for c in alphabet if c.isalnum()]
        inner = "".join(self._random.choices(alphabet, k=max(0, size - 3)))
        # What has no digit or no letter at all is not what a generator gives for long.
        return (
            self._random.choice(plain) + inner + self._random.choice(plain) + self.digit(alphabet)
        )

    def digit(self, alphabet: str) -> str:
        """A digit that the alphabet has."""
        return self._random.choice([c for c in alphabet if c.isdigit()])

    def number(self, low: int, high: int) -> int:
        """A number between two, those included."""
        return self._random.randint(low, high)

    def one_of(self, *choices: str) -> str:
        """One of several."""
        return self._random.choice(choices)

    def uuid(self) -> str:
        """A UUID of version 4."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def base64_json(self, value: object) -> str:
        """JSON in URL-safe Base64 without padding."""
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def base64(self, size: int) -> str:
        """Random bytes in Base64."""
        return base64.b64encode(self._random.randbytes(size)).decode()

    def pem(self, label: str, size: int = 600) -> str:
        """A PEM block of random bytes."""
        body = "\n".join(textwrap.wrap(self.base64(size), 64))
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----"

    def password(self) -> str:
        """A password as generators and people make them."""
        strong = "".join(self._random.choices(WORD + "!@#%^*_-+~", k=self.number(10, 20)))
        return self.one_of(
            strong.strip("-_.!:,") + self.digit(DIGITS),
            self.one_of("hunter", "Sommer", "trust", "Tr0ub4dor&", "letmein")
            + str(self.number(2, 9999)),
            f"{self.one_of('correct', 'quiet')}-horse-{self.number(10, 99)}",
        )


TOKENS: dict[str, Callable[[Maker], str]] = {
    "aws access key id": lambda m: m.one_of("AKIA", "ASIA") + m.some(BASE32, 16),
    "bedrock api key": lambda m: "ABSK" + m.base64(96),
    "github token": lambda m: m.one_of("ghp_", "gho_", "ghu_", "ghs_", "ghr_") + m.some(WORD, 36),
    "github fine-grained token": lambda m: f"github_pat_{m.some(WORD, 22)}_{m.some(WORD, 59)}",
    "gitlab token": lambda m: (
        m.one_of("glpat-", "gldt-", "glrt-", "glptt-", "glsoat-") + m.some(TEXT, 20)
    ),
    "slack token": lambda m: (
        f"{m.one_of('xoxb', 'xoxp', 'xoxa', 'xoxs')}-{m.number(10**10, 10**12)}-"
        f"{m.number(10**10, 10**12)}-{m.some(WORD, 24)}"
    ),
    "slack app token": lambda m: (
        f"xapp-1-A{m.some(UPPER + DIGITS, 10)}-{m.number(10**12, 10**13)}-{m.some(HEX, 64)}"
    ),
    "stripe key": lambda m: m.one_of("sk_live_", "rk_live_", "sk_test_") + m.some(WORD, 24),
    "webhook signing secret": lambda m: "whsec_" + m.some(BASE64, 32),
    "openai key": lambda m: m.one_of("sk-", "sk-proj-", "sk-svcacct-") + m.some(WORD, 48),
    "anthropic key": lambda m: (
        f"sk-ant-{m.one_of('api03', 'admin01', 'oat01')}-{m.some(TEXT, 93)}AA"
    ),
    "openrouter key": lambda m: "sk-or-v1-" + m.some(HEX, 64),
    "google api key": lambda m: "AIza" + m.some(TEXT, 35),
    "google oauth token": lambda m: "ya29." + m.some(TEXT, 90),
    "google oauth client secret": lambda m: "GOCSPX-" + m.some(TEXT, 28),
    "hugging face token": lambda m: "hf_" + m.some(WORD, 34),
    "groq key": lambda m: "gsk_" + m.some(WORD, 52),
    "xai key": lambda m: "xai-" + m.some(WORD, 80),
    "replicate token": lambda m: "r8_" + m.some(WORD, 37),
    "perplexity key": lambda m: "pplx-" + m.some(WORD, 48),
    "langsmith key": lambda m: f"lsv2_pt_{m.some(HEX, 32)}_{m.some(HEX, 10)}",
    "jwt": lambda m: (
        f"{m.base64_json({'alg': 'RS256', 'typ': 'JWT'})}."
        f"{m.base64_json({'sub': m.uuid(), 'exp': m.number(10**9, 2 * 10**9)})}.{m.some(TEXT, 86)}"
    ),
    "grafana token": lambda m: f"glsa_{m.some(WORD, 32)}_{m.some(HEX, 8)}",
    "grafana cloud token": lambda m: (
        "glc_" + m.base64_json({"o": "1", "n": "x", "k": m.some(WORD, 24)})
    ),
    "npm token": lambda m: "npm_" + m.some(WORD, 36),
    "pypi token": lambda m: "pypi-AgEIcHlwaS5vcmc" + m.some(TEXT, 120),
    "rubygems key": lambda m: "rubygems_" + m.some(HEX, 48),
    "nuget key": lambda m: "oy2" + m.some(LOWER + DIGITS, 43),
    "artifactory key": lambda m: "AKCp8" + m.some(WORD, 68),
    "docker hub token": lambda m: "dckr_pat_" + m.some(TEXT, 27),
    "digitalocean token": lambda m: m.one_of("dop_v1_", "doo_v1_", "dor_v1_") + m.some(HEX, 64),
    "cloudflare origin ca key": lambda m: f"v1.0-{m.some(HEX, 24)}-{m.some(HEX, 146)}",
    "sentry token": lambda m: "sntryu_" + m.some(HEX, 64),
    "atlassian token": lambda m: f"ATATT3xFfGF0{m.some(TEXT, 170)}={m.some(UPPER + DIGITS, 8)}",
    "bitbucket app password": lambda m: "ATBB" + m.some(WORD, 32),
    "vault token": lambda m: m.one_of("hvs.", "hvb.") + m.some(TEXT, 90),
    "terraform cloud token": lambda m: f"{m.some(WORD, 14)}.atlasv1.{m.some(TEXT, 67)}",
    "telegram bot token": lambda m: f"{m.number(10**8, 10**10 - 1)}:AA{m.some(TEXT, 33)}",
    "discord bot token": lambda m: (
        base64.b64encode(str(m.number(10**17, 10**18 - 1)).encode()).decode().rstrip("=")
        + f".G{m.some(TEXT, 5)}.{m.some(TEXT, 38)}"
    ),
    "twilio key": lambda m: "SK" + m.some(HEX, 32),
    "sendgrid key": lambda m: f"SG.{m.some(TEXT, 22)}.{m.some(TEXT, 43)}",
    "mailgun key": lambda m: "key-" + m.some(LOWER + DIGITS, 32),
    "mailchimp key": lambda m: f"{m.some(HEX, 32)}-us{m.number(1, 21)}",
    "brevo key": lambda m: f"xkeysib-{m.some(HEX, 64)}-{m.some(WORD, 16)}",
    "new relic user key": lambda m: "NRAK-" + m.some(UPPER + DIGITS, 27),
    "new relic license key": lambda m: m.some(HEX, 36) + "NRAL",
    "pagerduty key": lambda m: "u+" + m.some(TEXT, 18),
    "linear key": lambda m: "lin_api_" + m.some(WORD, 40),
    "notion token": lambda m: f"ntn_{m.number(10**10, 10**11 - 1)}{m.some(WORD, 35)}",
    "shopify token": lambda m: m.one_of("shpat_", "shpss_") + m.some(HEX, 32),
    "square token": lambda m: "sq0atp-" + m.some(TEXT, 22),
    "databricks token": lambda m: "dapi" + m.some(HEX, 32),
    "planetscale password": lambda m: "pscale_pw_" + m.some(TEXT, 43),
    "fly token": lambda m: "fm2_" + m.base64(120),
    "doppler token": lambda m: m.one_of("dp.pt.", "dp.st.prd.") + m.some(WORD, 43),
    "pulumi token": lambda m: "pul-" + m.some(HEX, 40),
    "postman key": lambda m: f"PMAK-{m.some(HEX, 24)}-{m.some(HEX, 34)}",
    "buildkite token": lambda m: "bkua_" + m.some(HEX, 40),
    "dynatrace token": lambda m: (
        f"dt0c01.{m.some(UPPER + DIGITS, 24)}.{m.some(UPPER + DIGITS, 64)}"
    ),
    "sonarqube token": lambda m: "squ_" + m.some(HEX, 40),
    "tailscale key": lambda m: f"tskey-auth-{m.some(WORD, 12)}-{m.some(WORD, 32)}",
    "age key": lambda m: "AGE-SECRET-KEY-1" + m.some(UPPER + DIGITS, 58),
    "password hash": lambda m: f"$2b$12${m.some(WORD + './', 53)}",
    "azure client secret": lambda m: f"{m.some(WORD, 3)}8Q~{m.some(TEXT + '.~', 34)}",
    "launchdarkly key": lambda m: "sdk-" + m.uuid(),
    "supabase key": lambda m: "sb_secret_" + m.some(TEXT, 31),
    "netlify token": lambda m: "nfp_" + m.some(WORD, 36),
    "neon key": lambda m: "napi_" + m.some(LOWER + DIGITS, 64),
    "resend key": lambda m: f"re_{m.some(WORD, 8)}_{m.some(WORD, 24)}",
    "airbrake-like hex token in a bearer header": lambda m: m.some(HEX, 40),
}
"""Tokens that are known by their shape; the last one only by its place."""

AROUND: tuple[Callable[[str], str], ...] = (
    lambda s: s,
    lambda s: f"2026-11-23T10:00:00Z error: request with {s} was refused (403)",
    lambda s: f"export CI_VALUE={s}\nexport HOME=/root\n",
    lambda s: json.dumps({"level": "info", "value": s, "n": 1}),
    lambda s: f"value: '{s}'\nother: 1\n",
    lambda s: json.dumps({"log": json.dumps({"value": s})}),
    lambda s: f"It is ({s}), I think.",
    lambda s: f"GET /hook?key={quote(s, safe='')}&page=2",
)

_SELDOM_IN_A_URL = frozenset({"pagerduty key", "password hash"})
_ONLY_IN_A_HEADER = "airbrake-like hex token in a bearer header"


def tokens() -> Iterator[Secret]:
    """Tokens that are known by their shape."""
    for kind, make in TOKENS.items():
        maker = Maker(kind)
        for number in range(PER_KIND):
            token = make(maker)
            if kind == _ONLY_IN_A_HEADER:
                yield Secret(kind, f"authorization: Bearer {token}\naccept: */*", token)
                continue
            around = AROUND[number % len(AROUND)]
            text = around(token)
            if token not in text and kind in _SELDOM_IN_A_URL:
                text = token
            yield Secret(kind, text, token if token in text else quote(token, safe=""))


NAMED: dict[str, tuple[Callable[[Maker], str], tuple[str, ...]]] = {
    "aws secret access key": (
        lambda m: m.some(BASE64, 40),
        (
            "aws_secret_access_key = {}\n",
            "AWS_SECRET_ACCESS_KEY={} terraform plan",
            '{{"AccessKeyId": "x", "SecretAccessKey": "{}"}}',
            "secretAccessKey: {}",
        ),
    ),
    "aws session token": (
        lambda m: "IQoJb3JpZ2luX2Vj" + m.base64(300),
        ("aws_session_token={}", '"SessionToken": "{}",', "export AWS_SESSION_TOKEN='{}'"),
    ),
    "azure storage key": (
        lambda m: m.base64(64),
        (
            "DefaultEndpointsProtocol=https;AccountName=prod;AccountKey={};EndpointSuffix=core",
            "AZURE_STORAGE_KEY={}",
            '"accountKey": "{}"',
        ),
    ),
    "azure shared access key": (
        lambda m: m.base64(32),
        (
            "Endpoint=sb://x.servicebus.example/;SharedAccessKeyName=Root;SharedAccessKey={}",
            "SharedAccessKey={};EntityPath=q",
        ),
    ),
    "signed URL": (
        lambda m: quote(m.base64(32), safe=""),
        (
            "https://x.blob.example/c/f?sv=2022-11-02&se=2026-01-01&sig={}",
            "https://b.s3.example/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature={}&x=1",
        ),
    ),
    "database URL": (
        lambda m: m.some(WORD, 14),
        (
            "DATABASE_URL=postgres://app:{}@db.prod.svc:5432/shop?sslmode=require",
            "connecting to mysql://root:{}@10.0.0.3/orders",
            "redis://:{}@cache:6379/0",
            'mongodb+srv://u:{}@c0.example.net/?retryWrites=true"',
            "amqp://guest2:{}@rabbit:5672/%2f",
        ),
    ),
    "password in configuration": (
        Maker.password,
        (
            "password: {}\n",
            "spring.datasource.password={}\n",
            'db_password = "{}"\n',
            "DB_PASSWORD={}\nDB_HOST=db\n",
            '{{"user": "app", "password": "{}"}}',
            "POSTGRES_PASSWORD:      {}\n",
            "requirepass: x\nredis_passwd: '{}'\n",
            "<user>app</user><password>{}</password>",
            "jdbc:postgresql://db/shop?user=app&password={}&ssl=true",
            "Server=db;User Id=sa;Password={};Encrypt=true",
        ),
    ),
    "password on a command line": (
        lambda m: m.some(WORD, 14),
        (
            "mysql -h db -u root -p{} shop",
            "psql --password={} -h db",
            "PGPASSWORD={} psql -h db -c 'select 1'",
            "curl -u admin:{} https://ci.example/api",
            "redis-cli -h cache -a {} ping",
            "sshpass -p {} ssh host",
            "helm install x --set auth.password={} chart",
            "kubectl create secret generic x --from-literal=password={}",
            "docker login -u bot --password {} registry.example",
        ),
    ),
    "environment of a container": (
        Maker.password,
        (
            "    env:\n    - name: DB_PASSWORD\n      value: {}\n    - name: PORT\n",
            '{{"env": [{{"name": "SMTP_PASSWORD", "value": "{}"}}]}}',
            "    Environment:\n      SMTP_PASSWORD:  {}\n      SMTP_HOST:      mail\n",
        ),
    ),
    "authorization header": (
        lambda m: m.some(TEXT, 40),
        (
            "Authorization: Bearer {}\r\n",
            "curl -H 'authorization: token {}' https://x",
            '"Authorization": "Bearer {}"',
            "> authorization: Bearer {}\n> accept: */*",
            "Proxy-Authorization: Bearer {}",
            "Authorization: SSWS {}",
        ),
    ),
    "basic authentication": (
        lambda m: base64.b64encode(f"admin:{m.some(WORD, 12)}".encode()).decode(),
        ("Authorization: Basic {}", "> authorization: Basic {}\n", '"auth": "{}"', "_auth={}"),
    ),
    "api key header": (
        lambda m: m.some(WORD, 32),
        (
            "X-Api-Key: {}",
            "curl -H 'X-Vault-Token: {}' https://vault",
            "PRIVATE-TOKEN: {}",
            "X-Auth-Key: {}\nX-Auth-Email: a@example.com",
            "DD-API-KEY: {}",
        ),
    ),
    "session cookie": (
        lambda m: m.some(WORD, 32),
        (
            "Cookie: theme=dark; session={}",
            "Set-Cookie: grafana_session={}; Path=/; HttpOnly",
            "cookie: JSESSIONID={}; lang=en",
            "Set-Cookie: connect.sid=s%3A{}; Secure",
            "Cookie: _ga=GA1.2.3.4; _gitlab_session={}",
        ),
    ),
    "datadog key": (
        lambda m: m.some(HEX, 32),
        ("DD_API_KEY={}", "datadog:\n  apiKey: {}\n", "DATADOG_APP_KEY: '{}'"),
    ),
    "pagerduty routing key": (
        lambda m: m.some(HEX, 32),
        ('{{"routing_key": "{}", "event_action": "trigger"}}', "service_key: {}"),
    ),
    "twilio auth token": (
        lambda m: m.some(HEX, 32),
        ("TWILIO_AUTH_TOKEN={}", "auth_token: {}"),
    ),
    "cloudflare token": (
        lambda m: m.some(TEXT, 40),
        ("CLOUDFLARE_API_TOKEN={}", "CF_API_TOKEN: {}", 'cloudflare_api_token = "{}"'),
    ),
    "heroku key": (Maker.uuid, ("HEROKU_API_KEY={}", "heroku_api_key: {}")),
    "okta token": (lambda m: "00" + m.some(TEXT, 40), ("OKTA_API_TOKEN={}", "apiToken: {}")),
    "sentry dsn": (
        lambda m: m.some(HEX, 32),
        ("SENTRY_DSN=https://{}@o1.ingest.sentry.example/42", "dsn: 'https://{}@sentry.example/3'"),
    ),
    "slack webhook": (
        lambda m: f"T{m.some(UPPER + DIGITS, 8)}/B{m.some(UPPER + DIGITS, 10)}/{m.some(WORD, 24)}",
        (
            "https://hooks.slack.com/services/{}",
            "slack_api_url: 'https://hooks.slack.com/services/{}'",
        ),
    ),
    "discord webhook": (
        lambda m: f"{m.number(10**17, 10**18)}/{m.some(TEXT, 68)}",
        ("https://discord.com/api/webhooks/{}",),
    ),
    "client secret": (
        lambda m: m.some(TEXT, 32),
        (
            "client_secret={}",
            '"client_secret": "{}"',
            "OAUTH_CLIENT_SECRET: {}",
            "--client-secret {}",
        ),
    ),
    "generic token": (
        lambda m: m.some(WORD, 24),
        (
            "token: {}",
            "API_TOKEN={}",
            '{{\\"access_token\\":\\"{}\\"}}',
            '{{"refresh_token": "{}"}}',
            "--token {}",
            "registrationToken={}",
            "https://x.example/?access_token={}&v=2",
        ),
    ),
    "encryption key": (
        lambda m: m.base64(32),
        (
            "ENCRYPTION_KEY={}",
            "signing_key: {}",
            "PrivateKey = {}",
            "SECRET_KEY_BASE={}0",
            "APP_KEY=base64:{}",
        ),
    ),
    "kubeconfig token": (
        lambda m: m.some(WORD, 60),
        ("users:\n- name: admin\n  user:\n    token: {}\n",),
    ),
    "netrc": (lambda m: m.some(WORD, 16), ("machine git.example login bot password {}\n",)),
    "connection string": (
        Maker.password,
        ("Server=tcp:db,1433;Database=x;Uid=app;Pwd={};", "AMQP_PWD={}"),
    ),
}
"""Secrets that are known by what stands before them."""


def named() -> Iterator[Secret]:
    """Secrets that are known by their names or places."""
    for kind, (make, templates) in NAMED.items():
        maker = Maker(kind)
        for number in range(max(PER_KIND, len(templates))):
            secret = make(maker)
            yield Secret(kind, templates[number % len(templates)].format(secret), secret)


def keys() -> Iterator[Secret]:
    """Private keys, bare and encoded."""
    maker = Maker("keys")
    labels = (
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    )
    for label in labels:
        key = maker.pem(label)
        body = key.split("\n")[3]
        yield Secret("private key", f"$ cat key\n{key}\n$ ", body)
        yield Secret("private key in JSON", json.dumps({"file": key}), body)
        yield Secret("private key in YAML", "tls: |\n" + textwrap.indent(key, "  "), body)
        yield Secret("private key, cut off", key[: len(key) // 2], body)
        encoded = base64.b64encode(key.encode()).decode()
        yield Secret("kubeconfig client key", f"    client-key-data: {encoded}\n", encoded[60:])
        account = {"type": "service_account", "project_id": "x", "private_key": key + "\n"}
        yield Secret("gcp service account", json.dumps(account, indent=2), body)


def kubernetes() -> Iterator[Secret]:
    """The values of Kubernetes Secrets as kubectl prints them."""
    maker = Maker("kubernetes")
    for number in range(10):
        values = {
            "password": maker.password(),
            "username": f"app{maker.number(100, 999)}",
            "code": str(maker.number(10**5, 10**6)),
        }
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        secret = {
            "apiVersion": "v1",
            "data": data,
            "kind": "Secret",
            "metadata": {"name": f"db-{number}"},
            "type": "Opaque",
        }
        config = {
            "apiVersion": "v1",
            "data": {"mode": "fast"},
            "kind": "ConfigMap",
            "metadata": {"name": "c"},
        }
        yaml = _yaml(secret)
        listed = "apiVersion: v1\nitems:\n" + _item(_yaml(config)) + _item(yaml) + "kind: List\n"
        plain = _yaml(
            {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}, "stringData": values}
        )
        ini = f"[db]\nuser = app\npass = {values['password']}\n"
        block = (
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  db.ini: |\n"
            f"{textwrap.indent(ini, '    ')}  other: '{values['code']}x'\ntype: Opaque\n"
        )
        yield Secret("kubernetes secret with a file", block, values["password"])
        yield Secret("kubernetes secret with a file", block, f"{values['code']}x")
        annotated = json.loads(json.dumps(secret))
        annotated["metadata"]["annotations"] = {
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps(secret) + "\n"
        }
        for key, value in data.items():
            yield Secret("kubernetes secret in YAML", yaml, value)
            yield Secret("kubernetes secret in JSON", json.dumps(secret), value)
            yield Secret("kubernetes secret in indented JSON", json.dumps(secret, indent=4), value)
            yield Secret("kubernetes secrets in a list", listed, value)
            yield Secret(
                "kubernetes secret, as last applied", json.dumps(annotated, indent=2), value
            )
            yield Secret("kubernetes secret in an MCP result", json.dumps({"stdout": yaml}), value)
            yield Secret("kubernetes secret, not encoded", plain, values[key])


def _yaml(value: dict[str, object]) -> str:
    lines = []
    for key, each in value.items():
        if isinstance(each, dict):
            lines += [f"{key}:", *(f"  {name}: {inner}" for name, inner in each.items())]
        else:
            lines.append(f"{key}: {each}")
    return "\n".join(lines) + "\n"


def _item(yaml: str) -> str:
    return "- " + textwrap.indent(yaml, "  ")[2:]


def secrets() -> list[Secret]:
    """All secrets."""
    return [*tokens(), *named(), *keys(), *kubernetes()]


def _harmless(maker: Maker) -> dict[str, list[str]]:
    m = maker
    sha, md5, digest = m.some(HEX, 40), m.some(HEX, 32), m.some(HEX, 64)
    pod = f"checkout-{m.some(HEX, 9)}-{m.some(LOWER + DIGITS, 5)}"
    service_account = f"default-token-{m.some(LOWER + DIGITS, 5)}"
    return {
        "git revision": [
            f"commit {sha}",
            f"HEAD is now at {sha[:8]} Fix it",
            f'"revision": "{sha}"',
        ],
        "uuid": [f"request_id={m.uuid()}", f'{{"id": "{m.uuid()}"}}', f"x-request-id: {m.uuid()}"],
        "image digest": [f"image: shop/api@sha256:{digest}", f"Digest: sha256:{digest}"],
        "trace id": [f"trace_id={md5} span_id={md5[:16]}", f"traceparent: 00-{md5}-{md5[:16]}-01"],
        "base64 of ordinary data": [
            f"body: {base64.b64encode(f'the order {m.number(1, 999)} is late'.encode()).decode()}",
            f"data:image/png;base64,iVBORw0KGgo{m.base64(60)}",
        ],
        "host": [
            f"checkout-{m.number(1, 9)}.prod.svc.cluster.local:8080",
            "ec2-3-1-2-3.us-east-2.compute.amazonaws.example",
        ],
        "pod": [f"pod/{pod} 1/1 Running 0 5d", f"Readiness probe of {pod} failed"],
        "arn": [f"arn:aws:iam::{m.number(10**11, 10**12 - 1)}:role/deploy-{m.some(HEX, 8)}"],
        "checksum": [f"{digest}  image.tar.gz", f"md5: {md5}", f"integrity: sha512-{m.base64(64)}"],
        "public key": [
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{m.base64(33)} ann@laptop",
            m.pem("PUBLIC KEY", 200),
            f"public_key: {m.base64(32)}",
        ],
        "certificate": [
            m.pem("CERTIFICATE"),
            "certificate-authority-data: "
            + base64.b64encode(m.pem("CERTIFICATE").encode()).decode(),
        ],
        "masked value": [
            "password: ****",
            "token=***",
            "PASSWORD=xxxxxxxx",
            "api_key: [REDACTED]",
            'password="<hidden>"',
        ],
        "reference": [
            "token: ${GITHUB_TOKEN}",
            "password: $DB_PASSWORD",
            "password: {{ .Values.db.password }}",
            "secret_key = var.secret_key",
            'password = os.environ["DB_PASSWORD"]',
            "token: ${{ secrets.DEPLOY_TOKEN }}",
            "password: !vault |",
            "api_key = config.api_key",
            "password: vault:secret/data/db#password",
            "postgres://app:${DB_PASSWORD}@db/shop",
        ],
        "example": [
            "token: your-token-here",
            "API_KEY=YOUR_API_KEY",
            "password: changeme",
            "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
            "secret: example-secret",
            "password: <your password>",
            "https://user:password@example.com/",
        ],
        "prose": [
            "The password is wrong.",
            "password: must be at least 8 characters",
            'error: {"password": "is too short"}',
            'FATAL: password authentication failed for user "app"',
            "the token expired 3 minutes ago",
            "secret not found: db-credentials",
            "Invalid token: signature has expired",
            "the bearer of this key may open the door",
            "Use the --password flag to pass it.",
            "Set-Cookie is missing; the cookie: theme=dark",
        ],
        "level": [
            "INFO token refreshed in 12ms",
            'level=warn msg="no secret configured"',
            "DEBUG key=checkout:42 hit",
        ],
        "name of a secret": [
            "secretName: db-credentials",
            f"secret: {service_account}",
            "    secretKeyRef:\n      name: db\n      key: password",
            f"Tokens:              {service_account}",
            "imagePullSecrets:\n- name: registry-credentials",
            "password_file: /run/secrets/db_password",
            "tokenPath: /var/run/secrets/kubernetes.io/serviceaccount/token",
            "DB_PASSWORD:  <set to the key 'password' in secret 'db'>  Optional: false",
            "password:  16 bytes",
        ],
        "count of tokens": [
            "max_tokens: 4096",
            "input_tokens=1200 output_tokens=340",
            "token_count: 128000",
            f"nextToken: {m.some(WORD, 30)}",
            f"next_page_token={m.some(WORD, 24)}",
            f"continue: {m.base64(20)}",
        ],
        "key that is none": [
            f"cache_key={m.some(HEX, 32)}",
            f"partition_key: {m.uuid()}",
            f"idempotency_key={m.uuid()}",
            f'"key": "order-{m.number(1, 999)}"',
            "primary_key: id",
            "pass: 1200, fail: 3",
            "tests: 12 pass=1200 skip=1",
            "key: checkout",
        ],
        "config map": [
            f"apiVersion: v1\ndata:\n  mode: {m.base64(12)}\n  limit: '5'\nkind: ConfigMap\n",
            json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "data": {"mode": "fast", "hash": md5}}
            ),
        ],
        "etag": [
            f'ETag: "{md5}"',
            f'etag: W/"{md5[:20]}"',
            f"x-amz-version-id: {m.some(WORD, 32)}",
        ],
        "identifier": [
            f"toolu_01{m.some(WORD, 22)}",
            f"chatcmpl-{m.some(WORD, 29)}",
            f"AC{m.some(HEX, 32)}",
            f"account={m.number(10**11, 10**12 - 1)}",
            f"i-{m.some(HEX, 17)} in vpc-{m.some(HEX, 17)}",
            f"pk_live_{m.some(WORD, 24)}",
            f"AROA{m.some(BASE32, 16)}",
            f"msg_{m.some(WORD, 24)}",
        ],
        "address": [
            "https://grafana.example/d/abc123/overview?orgId=1&from=now-6h",
            "http://10.0.0.1:9090/api/v1/query?query=up",
            "git@github.example:shop/api.git",
            "registry.example:5000/shop/api:v1.2.3",
        ],
        "word like a prefix": [
            "sk-learn-random-forest-pipeline",
            "task-runner-7 finished",
            "the risk-adjusted-return-of-capital",
            "key-value-store-of-the-cart",
            "SKIP SKU SKELETON",
            "eyJhbGciOiJIUzI1NiJ9 alone is a header",
        ],
        "version": [
            f"v1.{m.number(1, 99)}.{m.number(1, 9)}+{m.some(HEX, 7)}",
            "kubectl v1.30.2 (go1.22)",
            "2026-11-23T10:11:12.345678Z",
        ],
    }


def harmless() -> list[Harmless]:
    """All look-alikes."""
    found = []
    for number in range(PER_KIND):
        for kind, texts in _harmless(Maker(f"harmless {number}")).items():
            found += [Harmless(kind, text) for text in texts]
    return found
