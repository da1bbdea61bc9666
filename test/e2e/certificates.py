"""Certificates for the tests, made when they are needed: one CA of the test's own, and what it signs."""
import os
import ssl
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    """A CA in a directory; `issue` gives (certificate file, key file) for a name."""

    def __init__(self, directory, name="Test CA"):
        self.directory, self.certificate = directory, os.path.join(directory, "ca.pem")
        os.makedirs(directory, exist_ok=True)
        self.key = os.path.join(directory, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                 f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign", "-keyout", self.key, "-out", self.certificate)
        os.chmod(self.key, 0o600)

    def issue(self, name, label=None, days=2):
        base = os.path.join(self.directory, label or name)
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name}", "-keyout", base + ".key", "-out", base + ".csr")
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", str(days), "-copy_extensions", "copy", "-out", base + ".pem")
        os.chmod(base + ".key", 0o600)  # root's alone: gatepost's supervisor reads it, its proxy may not
        return base + ".pem", base + ".key"

    def server_context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, label="server-" + name))
        return context

    def client_context(self, **more):
        return ssl.create_default_context(cafile=self.certificate, **more)
