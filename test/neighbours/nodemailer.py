"""nodemailer, the library of Node.js programs, as a client."""
import base64
import json
import os

from .client import Command
from .packages import Unavailable, program

LIBRARY = "/usr/share/nodejs"
SCRIPT = """
const wanted = JSON.parse(require("fs").readFileSync(0));
const transport = require("nodemailer").createTransport({
  host: "127.0.0.1", port: wanted.port, name: "client.example", secure: false, ignoreTLS: !wanted.tls, requireTLS: wanted.tls,
  tls: {rejectUnauthorized: false}, connectionTimeout: 60000, socketTimeout: 60000});
transport.sendMail({envelope: wanted.envelope, raw: Buffer.from(wanted.content, "base64"), dsn: wanted.dsn},
  (error, told) => {
    if (error || told.rejected.length) { console.log(error ? error.message : told.rejected[0]); process.exit(1); }
    process.exit(0);
  });
"""


class Nodemailer(Command):
    name = "nodemailer"
    lacks = {"chunking": "BDAT"}

    def __init__(self, place, target):
        super().__init__(place, target)
        self.program = program("node")
        if not os.path.isdir(LIBRARY + "/nodemailer"):
            raise Unavailable("node-nodemailer is not installed")

    def transmit(self, letter):
        dsn = {"id": "QQ314159", "return": "headers", "notify": ["success", "failure"], "recipient": letter.recipients[0]}
        wanted = {"port": self.target, "tls": letter.tls, "content": base64.b64encode(letter.content).decode(),
                  "envelope": {"from": letter.sender, "to": letter.recipients, "use8BitMime": True},
                  "dsn": dsn if letter.dsn else None}
        return self.run(self.program, "-e", SCRIPT, feed=json.dumps(wanted).encode(),
                        environment={**os.environ, "NODE_PATH": LIBRARY})
