#!/usr/bin/env bash
# browser.sh: a login with the browser (oidc, prompt: browser), with OpenSSH, PuTTY,
# paramiko and asyncssh. The identity provider says that SFTP_USER has signed in.
. "$(dirname "$0")/lib.sh"

link='^[| ]*https://127.0.0.1:[0-9]*/activate?code=ABCD-EFGH'
by_browser=(-F "$ssh_config" -o BatchMode=no -o PubkeyAuthentication=no -o PreferredAuthentications=keyboard-interactive -o LogLevel=INFO)

# shows COMMAND...: runs it, and sees that the person read the link.
shows() {
	"$@" >"$work/out" 2>&1 </dev/null && grep -q "$link" "$work/out" && return
	cat "$work/out"
	return 1
}

ok "ssh" shows ssh "${by_browser[@]}" -s target sftp
ok "sftp" shows sftp "${by_browser[@]}" target:"$remote"
ok "scp" shows scp "${by_browser[@]}" "$key.pub" target:"$remote/by-scp"
ok "scp -O" shows scp -O "${by_browser[@]}" "$key.pub" target:"$remote/by-scp-O"
ok "another person's name" not shows ssh "${by_browser[@]}" -l other -s target sftp
echo "ls $remote" >"$work/batch"
ok "psftp" shows psftp -hostkey "$fingerprint" -P "$PORT" -l "$SFTP_USER" -b "$work/batch" "$HOST"

cat >"$work/by-paramiko.py" <<'PY'
import os, paramiko
t = paramiko.Transport((os.environ["HOST"], int(os.environ["PORT"])))
t.start_client(timeout=20)
def handler(title, instructions, prompts):
    print(title, instructions)
    return [""] * len(prompts)
t.auth_interactive(os.environ["SFTP_USER"], handler)
paramiko.SFTPClient.from_transport(t).listdir("/")
t.close()
PY
ok "paramiko" shows /usr/bin/python3 -W ignore "$work/by-paramiko.py"
cat >"$work/by-asyncssh.py" <<'PY'
import asyncio, os, asyncssh
class Client(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ""
    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        print(name, instructions)
        return [""] * len(prompts)
async def main():
    conn, _ = await asyncssh.create_connection(Client, os.environ["HOST"], int(os.environ["PORT"]), username=os.environ["SFTP_USER"],
        known_hosts=None, client_keys=None, preferred_auth="keyboard-interactive")
    async with conn.start_sftp_client() as sftp:
        await sftp.listdir(".")
asyncio.run(main())
PY
ok "asyncssh" shows /usr/bin/python3 -W ignore "$work/by-asyncssh.py"
summary
