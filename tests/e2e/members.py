"""Members of a private network whose certificates a test makes itself (pki-make), without a coordinator."""

import os
import shutil

from node import program


class Members:
    """`count` of one network, and one, number `count`, of another of the same name."""

    def __init__(self, lab, count, name="lab"):
        self.folder = lab.path("members")
        self.stranger = count
        lab.run(program("pki-make"), self.folder, name, str(count))

    def path(self, number, name):
        return os.path.join(self.folder, str(number), "member", name)

    def put_out(self, node):
        """What lb-member does with a deny list: the last member is on it."""
        folder = os.path.join(node.dir, "data", "member")
        shutil.copy(os.path.join(self.folder, "denied"), os.path.join(folder, "denied.new"))
        os.rename(os.path.join(folder, "denied.new"), os.path.join(folder, "denied"))

    def admit(self, node, number):
        """The node, which does not run, is this member."""
        state = os.path.join(node.dir, "data")
        os.makedirs(state, mode=0o700, exist_ok=True)
        shutil.copytree(os.path.join(self.folder, str(number)), state, dirs_exist_ok=True)
