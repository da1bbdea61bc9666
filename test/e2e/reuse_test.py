"""A connection to the mail server that serves several sessions (dialogue.md D4), and everything that ends its service."""
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import Downstream

MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"


class ReuseTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.replies = []
        self.downstream = Downstream(on_data=lambda message: self.replies.pop(0) if self.replies else None,
                                     banner=b"220 next.example ESMTP Postfix")  # with whom greetings cost nothing
        self.addCleanup(self.downstream.close)

    def serve(self, downstream=None, **sections):
        config = config_for(self.place, [self.downstream.address], scan=False, loops=1,
                            downstream={"identity": "none", **(downstream or {})}, **sections)
        gatepost = Gatepost(self.place, config)
        self.addCleanup(gatepost.__exit__, None)
        return gatepost

    def session(self, gatepost, name="client.example", messages=1, verb=b"EHLO"):
        codes = []
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(verb + b" " + name.encode())
            for _ in range(messages):
                wire.say(b"MAIL FROM:<a@example.org>")
                wire.say(b"RCPT TO:<b@example.net>")
                self.assertEqual(wire.say(b"DATA")[0], 354)
                wire.send(MESSAGE + b".\r\n")
                codes.append(wire.reply()[0])
            self.assertEqual(wire.say(b"QUIT")[0], 221)
        # What follows a session (RSET, keeping or closing) is over when nobody is there any more.
        wait_until(lambda: gatepost.sessions() == 0, "the end of the session")
        return codes

    def settled(self, opened, closed):
        wait_until(lambda: (self.downstream.opened, self.downstream.closed) == (opened, closed),
                   f"{opened} connections, {closed} of them closed")

    def test_one_connection_serves_many_sessions_each_with_its_own_name(self):
        gatepost = self.serve()
        for number in range(5):
            self.assertEqual(self.session(gatepost, f"client{number}.example"), [250])
        self.settled(1, 0)
        self.assertEqual(self.downstream.greetings, [b"EHLO client%d.example" % number for number in range(5)])

    def test_a_session_of_the_same_name_does_not_greet_again(self):
        gatepost = self.serve()
        for name in ["a.example", "a.example", "b.example", "b.example", "a.example"]:
            self.assertEqual(self.session(gatepost, name), [250])
        self.settled(1, 0)
        self.assertEqual(self.downstream.greetings, [b"EHLO a.example", b"EHLO b.example", b"EHLO a.example"])

    def test_helo_is_served_by_the_same_connection_where_the_server_is_known_to_have_no_limit(self):
        self.downstream.relays = False
        for address, connections in (("0.0.0.0:0", 1), ("127.0.0.1:0", 3)):  # examined, or nobody knows
            with self.subTest(address):
                gatepost = self.serve(listener={"address": address})
                opened = []
                for number in range(3):
                    self.assertEqual(self.session(gatepost, f"client{number}.example", verb=b"HELO"), [250])
                    opened.append(self.downstream.opened)
                self.assertEqual(opened[-1] - opened[0], connections - 1)

    def test_a_connection_that_dies_behind_the_greeting_that_was_saved_is_replaced_and_greeted(self):
        gatepost = self.serve()
        self.assertEqual(self.session(gatepost), [250])
        with gatepost.wire() as wire:
            wire.reply()
            self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
            self.downstream.hang_up()
            self.settled(1, 1)
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            wire.say(b"QUIT")
        self.assertEqual(self.downstream.greetings, [b"EHLO client.example"] * 2)

    def test_the_third_name_has_a_connection_of_its_own_with_servers_that_may_not_be_patient(self):
        self.downstream.banner = b"220 next.example ESMTP"
        gatepost = self.serve()
        for name in ("a.example", "a.example", "b.example", "c.example", "d.example"):
            self.assertEqual(self.session(gatepost, name), [250])
        self.settled(2, 2)
        self.assertEqual(self.downstream.greetings, [b"EHLO %s.example" % name for name in (b"a", b"b", b"c", b"d")])

    def test_one_that_refuses_the_greeting_of_the_next_session_is_replaced_unseen(self):
        gatepost = self.serve()
        self.assertEqual(self.session(gatepost), [250])
        self.downstream.at_ehlo = [b"554 Too many nonmail commands"]
        self.assertEqual(self.session(gatepost, "b.example"), [250])
        self.settled(2, 1)
        # Not if it does so on a connection of its own.
        self.downstream.at_ehlo = [b"550 5.7.1 Not you", b"550 5.7.1 Not you either"]
        with gatepost.wire() as wire:
            wire.reply()
            self.assertEqual(wire.say(b"EHLO c.example"), (550, b"550 5.7.1 Not you either"))
            wire.say(b"QUIT")

    def test_off_by_one_key(self):
        gatepost = self.serve({"reuse": False})
        for _ in range(3):
            self.session(gatepost)
        self.settled(3, 3)

    def test_off_where_the_server_is_shown(self):
        gatepost = self.serve(listener={"hide": True})
        for _ in range(2):
            self.session(gatepost)
        self.settled(2, 2)

    def test_a_connection_that_the_server_has_closed_is_replaced_unseen(self):
        gatepost = self.serve()
        self.assertEqual(self.session(gatepost), [250])
        self.downstream.hang_up()
        self.settled(1, 1)
        self.assertEqual(self.session(gatepost), [250])
        self.settled(2, 1)

    def test_refused_messages_wear_it_out(self):
        gatepost = self.serve()
        self.replies = [b"550 5.7.1 no"] * 3
        for number in range(3):
            self.assertEqual(self.session(gatepost), [550])
            # The connection is kept when its RSET is answered, which the client does not wait for.
            if number < 2:
                wait_until(lambda: self.downstream.resets > number, "the reply to RSET")
        self.settled(1, 1)
        self.assertEqual(self.session(gatepost), [250])
        self.settled(2, 1)

    def test_a_hundred_transactions_wear_it_out(self):
        gatepost = self.serve(listener={"max_messages": 0})
        self.session(gatepost, messages=99)
        self.settled(1, 0)
        self.session(gatepost)
        self.settled(1, 1)

    def test_what_belongs_to_one_client_ends_with_his_session(self):
        self.downstream.keywords = b"250-AUTH PLAIN\r\n250-VRFY\r\n250-EXPN\r\n250-ETRN\r\n"
        gatepost = self.serve(listener={"forward_commands": ["VRFY", "EXPN", "ETRN"]})
        for number, line in enumerate((b"VRFY someone", b"EXPN list", b"ETRN example.org", b"AUTH PLAIN AGEAYg=="), 1):
            with self.subTest(line), gatepost.wire() as wire:
                wire.reply()
                wire.say(b"EHLO client.example")
                self.assertEqual(wire.say(line)[0] // 100, 2)
                wire.say(b"QUIT")
            self.settled(number, number)

    def test_a_reply_too_many_or_half_of_one_ends_it(self):
        gatepost = self.serve()
        for number, reply in enumerate((b"250 2.0.0 taken\r\n250 2.0.0 and again", b"250 2.0.0 taken\r\n250-2.0.0 more to"), 1):
            with self.subTest(reply):
                self.replies = [reply]
                with gatepost.wire() as wire:
                    wire.to_data()
                    self.assertEqual(wire.say(MESSAGE + b".")[0], 250)
                    wire.say(b"QUIT")
                self.settled(number, number)

    def test_a_client_that_vanishes_in_its_transaction_leaves_it_clean(self):
        gatepost = self.serve()
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            wire.say(b"MAIL FROM:<gone@example.org>")
            wire.say(b"RCPT TO:<b@example.net>")
        wait_until(lambda: gatepost.sessions() == 0, "the end of the session")
        self.assertEqual(self.session(gatepost), [250])
        self.assertEqual([message[0] for message in self.downstream.messages], [b"MAIL FROM:<a@example.org>"])

    def test_a_transaction_that_began_behind_our_own_rset_is_not_handed_on(self):
        for rest in (b"", b"QUIT\r\n"):
            with self.subTest(rest), self.serve() as gatepost:
                with gatepost.wire() as wire:
                    wire.to_data()
                    # We refuse this one ourselves: the RSET for it is not answered yet when the next MAIL follows.
                    wire.send(b"Subject: x\r\n\r\nnul \0 here\r\n.\r\nMAIL FROM:<first@example.org>\r\n"
                              b"RCPT TO:<accomplice@example.net>\r\n" + rest)
                    self.assertEqual([wire.reply()[0] for _ in range(3)], [550, 250, 250])
                wait_until(lambda: gatepost.sessions() == 0, "the end of the session")
                self.assertEqual(self.session(gatepost), [250])
                self.assertEqual(self.downstream.messages.pop()[:2], (b"MAIL FROM:<a@example.org>", [b"RCPT TO:<b@example.net>"]))

    def test_one_that_takes_our_mail_for_a_second_one_is_replaced_unseen(self):
        gatepost = self.serve()
        self.assertEqual(self.session(gatepost), [250])
        self.downstream.nested = 1
        self.assertEqual(self.session(gatepost), [250])
        self.settled(2, 1)
        self.downstream.nested = 10
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 503)  # it is no matter of the connection
            wire.say(b"QUIT")
        self.assertEqual(self.downstream.opened, 3)

    def test_with_xforward_it_is_proven_by_the_reply_to_mail_and_not_before(self):
        self.downstream.close()
        for reply in (b"", b"421 4.3.2 Going down", b"503 5.5.1 Nested MAIL command"):
            with self.subTest(reply), Downstream(keywords=(b"XFORWARD NAME ADDR PROTO HELO SOURCE",)) as self.downstream:
                gatepost = self.serve({"identity": "xforward"})
                self.assertEqual(self.session(gatepost), [250])
                self.downstream.at_mail = [reply]
                self.assertEqual(self.session(gatepost), [250])
                self.settled(2, 1)
                # The connection that stands in hears of the client before MAIL, too.
                self.assertEqual(self.downstream.forwarded, self.downstream.forwarded[:1] * 3)
                gatepost.__exit__(None)

    def test_an_idle_one_is_closed_in_time(self):
        gatepost = self.serve()
        self.session(gatepost)
        self.settled(1, 1)  # ten seconds

    def test_draining_leaves_none(self):
        with self.serve() as gatepost:
            self.session(gatepost)
        self.settled(1, 1)


if __name__ == "__main__":
    unittest.main()
