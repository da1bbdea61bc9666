"""Gives a letter to a mail server that is a client of gatepost, by that server's own SMTP port, with all its parameters."""
import smtplib

from common import PATIENCE


def mail_options(letter):
    options = ["BODY=8BITMIME"]
    if letter.utf8:
        options.append("SMTPUTF8")
    if letter.dsn:
        options += ["RET=HDRS", "ENVID=QQ314159"]
    return options


def rcpt_options(letter, recipient):
    return [f"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{recipient}"] if letter.dsn else []


def say_envelope(client, letter):
    """MAIL and RCPT by an open smtplib connection; the first refusal is raised."""
    if letter.utf8:
        client.command_encoding = "utf-8"
    client.ehlo_or_helo_if_needed()
    code, text = client.mail(letter.sender, [option for option in mail_options(letter) if client.has_extn(option.split("=")[0].replace(
        "BODY", "8BITMIME").replace("RET", "DSN").replace("ENVID", "DSN"))])
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, text, letter.sender)
    for recipient in letter.recipients:
        code, text = client.rcpt(recipient, rcpt_options(letter, recipient) if client.has_extn("DSN") else [])
        if code not in (250, 251):
            raise smtplib.SMTPRecipientsRefused({recipient: (code, text)})


def submit(port, letter):
    """The server's reply to the end of data."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE * 3) as client:
        say_envelope(client, letter)
        code, text = client.data(letter.content)
        if code != 250:
            raise AssertionError(f"the client itself refused {letter.case}: {code} {text}")
        return text.decode("utf-8", "replace")
