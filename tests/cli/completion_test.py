#!/usr/bin/python3
"""Completion in bash and zsh offers what --help says: every command, every option, and the values that are known.

usage: completion_test.py bash|zsh
The functions of config/completion are called as the shells call them; zsh runs on a terminal of its own.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "../../config/completion")
BIN = os.environ["LB_BIN"]
SERVICES = {"supervisor", "routing", "transport", "storage", "swarm", "signer", "coordinator", "member", "gateway"}
LIMIT_S = 60

# What stands on the line, the last word being completed, and all that is offered; besides what --help says.
ROWS = (
    (("lb-admin", "restart", ""), SERVICES),
    (("lb-admin", "restart", "s"), {"supervisor", "storage", "swarm", "signer"}),
    (("lb-admin", "log", ""), SERVICES | {"all"}),
    (("lb-admin", "log", "swarm", ""), {"error", "warn", "info", "debug", "default"}),
    (("lb-admin", "log", "--json", "swarm", "d"), {"debug", "default"}),
    (("lb-admin", "scale", "tr"), {"transport="}),
    (("lb-admin", "config", ""), {"check", "show"}),
    (("lb-admin", "members", ""), {"pending", "approve", "reject"}),
    (("lb-admin", "network", ""), {"create", "invitations", "withdraw"}),
    (("lb-admin", "network", "withdraw", ""), set()),
    (("lb-admin", "members", "--j"), {"--json"}),
    (("lb-admin", "config", "check", "ima"), {"image.iso", "images"}),
    (("littlebird", "share", "image."), {"image.iso"}),
    (("littlebird", "share", "--torrent", "image."), {"image.iso"}),
    (("littlebird", "fetch", "magnet", "--priority", ""), {"low", "normal", "high"}),
    (("littlebird", "up", "--dir", "ima"), {"images"}),
    (("littlebird", "li"), {"limit", "list"}),
    (("littlebird", "get", ""), set()),
    (("littlebird", "no-such-command", "--"), set()),
)


def help_of(program, *command):
    return subprocess.run([os.path.join(BIN, program), *command, "--help"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def rows_of_help():
    """The same for what the programs say they can do."""
    for program in ("littlebird", "lb-admin"):
        commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", help_of(program), re.M)
        assert len(commands) >= 10, commands
        yield (program, ""), {name.split()[0] for name in commands}
        for name in commands:
            said = help_of(program, *name.split())
            options = set(re.findall(r"^  (--[a-z0-9-]+)", said, re.M))
            yield (program, *name.split(), "--"), options | {"--help", "--version"}


class Bash:
    SCRIPT = """
        source "$1"; shift
        compopt() { :; }
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _littlebird
        ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' "${COMPREPLY[@]}"
    """

    def __init__(self, folder):
        self.folder = folder

    def offers(self, words):
        result = subprocess.run(["bash", "-uc", self.SCRIPT, "bash", os.path.join(FOLDER, "littlebird.bash"), *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)
        assert result.stderr == "", result.stderr
        return set(result.stdout.split())


class Zsh:
    """An interactive zsh, in which a key completes, prints what would be offered between marks, and begins anew."""

    RC = r"""
        unsetopt prompt_cr prompt_sp
        PROMPT= RPROMPT=
        fpath=(%(folder)s $fpath)
        autoload -Uz compinit && compinit -u -d %(home)s/dump
        compadd() {
            local -a offered
            [[ ${@[1,(i)(-|--)]} == *-(O|A|D)* ]] && { builtin compadd "$@"; return }
            builtin compadd -A offered "$@"
            ((${#offered})) && print -rl -- "<+"${^offered}"+>"
            builtin compadd "$@"
        }
        ask() { print -r -- '<<'; zle complete-word; print -r -- '>>'; BUFFER= ; zle redisplay }
        zle -N ask
        zle -C complete-word complete-word _main_complete
        zstyle ':completion:*' completer _complete
        bindkey '^I' ask
        print -r -- 'READY''.'
    """

    def __init__(self, folder):
        home = os.path.join(folder, ".zsh")
        os.mkdir(home)
        with open(os.path.join(home, ".zshrc"), "w", encoding="utf-8") as file:
            file.write(self.RC % {"folder": FOLDER, "home": home})
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(ZDOTDIR=home, TERM="dumb", LC_ALL="C")
            os.execvp("zsh", ["zsh", "-i", "-o", "no_global_rcs"])
        self.read_until("READY.")

    def read_until(self, mark):
        said, end = "", time.monotonic() + LIMIT_S
        while mark not in said:
            ready = select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"zsh does not say {mark}: {said}"
            said += os.read(self.terminal, 65536).decode(errors="replace")
        return said

    def offers(self, words):
        os.write(self.terminal, (" ".join(words) + "\t").encode())
        said = self.read_until(">>")
        return {name.rstrip("/") for name in re.findall(r"<\+(.+?)\+>", said.partition("<<")[2])}


def main():
    shell = sys.argv[1]
    if not shutil.which(shell):
        print(f"skipped: there is no {shell}")
        return 77
    os.environ["PATH"] = BIN + ":" + os.environ["PATH"]
    wrong = rows = 0
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "images"))
        open(os.path.join(folder, "image.iso"), "w").close()
        asked = {"bash": Bash, "zsh": Zsh}[shell](folder)
        for words, wanted in (*ROWS, *rows_of_help()):
            offered = asked.offers(words)
            rows += 1
            if words[-1] == "" and len(words) == 2:
                offered -= {"--help", "--version"}
            if offered != wanted:
                print(f"{' '.join(words)}\n  offers {sorted(offered)}\n  wanted {sorted(wanted)}")
                wrong += 1
    print(f"{rows} lines completed, {wrong} wrong")
    return 1 if wrong else 0


sys.exit(main())
