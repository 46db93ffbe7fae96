#!/usr/bin/env bash
# packages.sh base|peers|nfs|sssd ...: installs what the tests need, where it is
# missing, with apt, and packages for Node with npm. No service is started by an
# installation, and nobody new may log in to this machine.
set -euo pipefail

declare -A packages=(
	[base]="gcc libc6-dev openssh-server openssh-sftp-server openssh-client sshpass expect slapd ldap-utils openssl putty-tools ssh-audit strace rclone rsyslog rsyslog-openssl man-db redis-server haproxy"
	[peers]="samba samba-ad-provision samba-dsdb-modules samba-vfs-modules ldb-tools krb5-user krb5-kdc krb5-admin-server libsasl2-modules-gssapi-mit faketime 389-ds-base \
		openssh-tests lftp curl dropbear-bin restic sshfs git e2fsprogs python3-paramiko python3-asyncssh python3-scp ruby-net-sftp ruby-net-scp php-cli php-phpseclib3 libnet-sftp-foreign-perl libjsch-java libssh-dev default-jdk-headless nmap hydra lintian rpmlint rpm debootstrap systemd systemd-container prometheus chromium nginx libnginx-mod-stream postfix sasl2-bin"
	[nfs]="qemu-system-x86 debootstrap e2fsprogs"
	[sssd]="sssd-ldap libnss-sss libpam-sss"
)

missing=()
for set in "$@"; do
	for p in ${packages[$set]}; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
	done
done

# A Node that did not come from Debian brings its npm along.
node_packages="ssh2-sftp-client@12.1.1 axe-core@4.14.1"
has_node_packages() {
	for p in $node_packages; do npm ls --global --depth 0 "$p" >/dev/null 2>&1 || return 1; done
}
with_node=
[[ " $* " != *" peers "* ]] || with_node=1
[ -z "$with_node" ] || command -v npm >/dev/null || missing+=(nodejs npm)

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
install_node_packages() {
	[ -n "$with_node" ] && ! has_node_packages || return 0
	echo "installing $node_packages"
	$sudo npm install --global --silent --no-audit --no-fund $node_packages
}
[ ${#missing[@]} -gt 0 ] || { install_node_packages; exit; }

if ! command -v apt-get >/dev/null; then
	echo "these packages are needed, under their Debian names: ${missing[*]}" >&2
	exit 1
fi

# Debian asks this script before it starts a service; 101 means no.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod 755 $policy
	made=1
fi
# The packages of SSSD enter themselves here. The tests bring files of their own.
before=$(mktemp -d)
cp -a /etc/nsswitch.conf /etc/pam.d "$before"
undo() {
	[ -z "$made" ] || $sudo rm -f $policy
	[[ " ${missing[*]} " != *" sssd-ldap "* ]] || $sudo cp -a "$before"/* /etc
	rm -rf "$before"
}
trap undo EXIT

echo "installing ${missing[*]}"
$sudo apt-get update -q >/dev/null
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null </dev/null
install_node_packages
