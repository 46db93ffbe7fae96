#!/bin/bash
# The first process of a Debian in a virtual machine. It shares a file system by NFS with
# root_squash, mounts it again, and starts a server whose people have their homes
# there. The test reads what it prints.
set -eu
trap 'echo "guest: ended with $?"; echo o >/proc/sysrq-trigger; sleep 60' EXIT
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
ip link set lo up

install -d -m 755 /export/home /srv/people
install -d -m 700 -o 20000 -g 21000 /export/home/alice
install -d -m 700 -o 20001 -g 21000 /export/home/bob
install -d -m 2770 -o root -g 21001 /export/team
chown 990:990 /export/home
modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/lib/nfs/rpc_pipefs /var/lib/nfs/nfsdcld /run/rpcbind
mount -t rpc_pipefs sunrpc /var/lib/nfs/rpc_pipefs
rpcbind
echo 10 | tee /proc/fs/nfsd/nfsv4leasetime /proc/fs/nfsd/nfsv4gracetime >/dev/null
nfsdcld
sed -i "s/^manage-gids=y/manage-gids=n/" /etc/nfs.conf # this server knows no groups of people
rpc.mountd --no-nfs-version 3
exportfs -o rw,root_squash,no_subtree_check,sync,fsid=0 127.0.0.1:/export
rpc.nfsd --no-nfs-version 3 4
mount -t nfs4 -o sec=sys 127.0.0.1:/ /srv/people
echo "guest: mounted $(stat -f -c %T /srv/people)"
ls /srv/people/home/alice 2>/dev/null && echo "guest: root may enter homes" || echo "guest: root is squashed"

truncate -s 64M /disk
mkfs.ext4 -q -O quota -E quotatype=usrquota /disk
mkdir /srv/limited
modprobe -a loop quota_v2
mount -o loop,usrquota /disk /srv/limited
chmod 1777 /srv/limited
setquota -u 20000 0 1000 0 0 /srv/limited # 1000 KiB for alice

chown -R 990:990 /test/server
caps=-all,+setuid,+setgid,+chown
setpriv --reuid 990 --regid 990 --clear-groups --inh-caps $caps --ambient-caps $caps --bounding-set $caps /test/berth serve --config /test/server/berth.yaml &
server=$!
until (echo >/dev/tcp/127.0.0.1/2022) 2>/dev/null; do kill -0 $server || exit 3; sleep 0.1; done

# as PERSON LABEL: runs the commands of its input in sftp.
as() {
	if sftp -q -b - -P 2022 -i /test/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$1@127.0.0.1" >/tmp/said 2>&1; then
		echo "guest: $2: done"
	else
		echo "guest: $2: $(grep -v '^sftp>' /tmp/said | tail -n 1)"
	fi
	sed 's/^/    /' /tmp/said
}
echo hello >/tmp/f
as alice "alice works" <<-EOF
	put /tmp/f f
	put /tmp/f f
	mkdir d
	put /tmp/f d/g
	rename d/g d/h
	chmod 600 d/h
	get d/h /tmp/back
	ls -l d
	put /tmp/f /team/of-alice
	put /tmp/f gone
	rm gone
EOF
cmp /tmp/f /tmp/back
as bob "bob reads in the folder of the team" <<-EOF
	get /team/of-alice /tmp/back2
	put /tmp/f /team/of-bob
EOF
as bob "bob changes a mode of alice" <<<"chmod 666 /team/of-alice"
as carol "carol lists the folder of the team" <<<"ls /team"
for name in home/alice/f home/alice/d home/alice/d/h team/of-alice team/of-bob; do
	echo "guest: $name $(stat -c '%u:%g %a' /export/$name)"
done
head -c 3000000 /dev/zero >/tmp/big
as alice "alice fills a disk with a quota" <<<"put /tmp/big /limited/of-alice"
as bob "bob uses the same disk" <<<"put /tmp/big /limited/of-bob"
echo "guest: quota $(grep -c '"reason":"quota_exceeded"' /test/server/events.jsonl)"
echo "guest: limited/of-bob $(stat -c '%u:%g %a' /srv/limited/of-bob)"
chmod 000 /export/home/alice/d/h
as alice "alice reads what the disk denies" <<<"get d/h /tmp/back3"
echo "guest: homes $(ls -A /export/home | xargs)" # carol got none: only root of the NFS server can give one away
echo "guest: rings $(ls -l /proc/$server/fd | grep -c io_uring || true)"
