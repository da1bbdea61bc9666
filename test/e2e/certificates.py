"""Certificates for the tests, made when they are needed: one CA of the test's own, and what it signs."""
import hashlib
import os
import shutil
import ssl
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def fingerprint(certificate):
    """SHA-256 of the certificate, 64 hexadecimal digits."""
    with open(certificate) as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


def key_fingerprint(key):
    """SHA-256 of the public key (SubjectPublicKeyInfo)."""
    told = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True)
    return hashlib.sha256(told.stdout).hexdigest()


class Authority:
    """A CA in a directory; `issue` gives (certificate file, key file) for a name."""

    def __init__(self, directory, name="Test CA"):
        self.directory, self.certificate = directory, os.path.join(directory, "ca.pem")
        os.makedirs(directory, exist_ok=True)
        self.key = os.path.join(directory, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                 f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign", "-keyout", self.key, "-out", self.certificate)
        os.chmod(self.key, 0o600)

    def issue(self, name, label=None, days=2, key=None):
        """For `key`, a file, or for a new one."""
        base = os.path.join(self.directory, label or name)
        if key is None:
            _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", base + ".key")
        elif key != base + ".key":
            shutil.copyfile(key, base + ".key")
        _openssl("req", "-new", "-key", base + ".key", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                 "-out", base + ".csr")
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", str(days), "-copy_extensions", "copy", "-out", base + ".pem")
        os.chmod(base + ".key", 0o600)  # root's alone: gatepost's supervisor reads it, its proxy may not
        return base + ".pem", base + ".key"

    def server_context(self, name):
        return server_context(*self.issue(name, label="server-" + name))

    def client_context(self, **more):
        return ssl.create_default_context(cafile=self.certificate, **more)
