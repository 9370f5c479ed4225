import { test } from "tap";
import { spokenBy } from "../../proxy/transparent/first-bytes.ts";

const SAID: Readonly<Record<string, readonly string[]>> = {
  http: [
    "GET / HTTP/1.1",
    "POST /a",
    "OPTIONS * ",
    "VERSION-CONTROL /x",
    "GET http://a/",
    "GET HTTPS://a/",
    "CONNECT db:5432",
    "M-SEARCH *",
  ],
  tls: ["\x16", "\x16\x03\x01\x02\x00"],
  other: [
    "get / HTTP/1.1",
    "PRI * HTTP/2.0",
    "*1\r\n$4\r\nPING",
    "PING\r\n",
    "EHLO me",
    "SSH-2.0-x",
    "\x00\x00\x00\x08\x04\xd2\x16\x2f",
    " GET /",
    "A".repeat(40),
    "NICK hans",
    "GET hkey",
    'CONNECT {"verbose":false}',
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2",
    "\r\n\r\n\x00\r\nQUIT\n",
  ],
  undecided: ["", "G", "GET", "GET ", "PR", "GET h", "GET https:/", "CONNECT "],
};

test("HTTP is a request line and nothing that only begins like one", async (t) => {
  for (const [as, all] of Object.entries(SAID))
    for (const said of all) t.equal(spokenBy(Buffer.from(said, "latin1")), as, JSON.stringify(said));
});

test("what is decided stays decided, however it is cut", async (t) => {
  for (const [as, all] of Object.entries(SAID))
    for (const said of all)
      for (let end = 0; end <= said.length; end++) {
        const before = spokenBy(Buffer.from(said.slice(0, end), "latin1"));
        t.ok(before === "undecided" || before === as, `${JSON.stringify(said.slice(0, end))} is ${before}`);
      }
});
