#!/usr/bin/env python3
"""Runs the unittest cases of one file and writes what came of each: a JSON list of [name, seconds, outcome, detail].

    unittest_report.py FILE_test.py REPORT
"""
import importlib
import json
import os
import sys
import time
import unittest


class Report(unittest.TextTestResult):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.cases = []
        self.began = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def note(self, test, outcome, detail=""):
        seconds = round(time.monotonic() - self.began, 3)
        known = next((case for case in self.cases if case[0] == test.id()), None)
        if known is None:
            self.cases.append([test.id(), seconds, outcome, detail])
        else:  # a test and its clean-up may both fail: one case
            known[1:] = [seconds, "failed", known[3] + detail]

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "failed", self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "failed", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.note(subtest, "failed", (self.failures + self.errors)[-1][1])

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.note(test, "failed", "an expected failure is none that anybody should expect")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "passed")


def main():
    file, report = sys.argv[1:3]
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))
    module = importlib.import_module(os.path.splitext(os.path.basename(file))[0])
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=0, resultclass=Report).run(suite)
    with open(report, "w") as out:
        json.dump(result.cases, out)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
