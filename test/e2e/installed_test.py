"""What `meson install` puts where: the programs, their manual, and the unit, which names the program that is installed with it."""
import os
import re
import subprocess
import unittest

from common import BUILD, Place


class InstalledTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", self.place.path],
                       check=True, stdout=subprocess.DEVNULL)

    def installed(self, name):
        """The one file of this name, as it will be called."""
        (found,) = [os.path.join(parent, name) for parent, _, names in os.walk(self.place.path) if name in names]
        return found.removeprefix(self.place.path)

    def test_the_unit_is_where_systemd_looks_and_names_the_installed_program(self):
        unit = self.installed("gatepost.service")
        self.assertRegex(unit, r"^(/usr|/usr/local|)/lib/systemd/system/[^/]+$")
        with open(self.place.path + unit) as file:
            lines = re.findall(r"(?m)^Exec(\w+)=-?(\S+)", file.read())
        self.assertEqual([name for name, _ in lines], ["Start", "Reload", "StopPost"])
        for name, program in lines:
            if name != "Reload":  # kill(1) is the system's
                self.assertEqual(program, self.installed("gatepost"))
                self.assertTrue(os.access(self.place.path + program, os.X_OK))

    def test_the_manual_is_there(self):
        self.assertRegex(self.installed("gatepost.8"), r"/man8/[^/]+$")
        self.assertRegex(self.installed("gatepost.json.5"), r"/man5/[^/]+$")


if __name__ == "__main__":
    unittest.main()
