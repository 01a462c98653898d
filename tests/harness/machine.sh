#!/bin/sh
# Makes what a virtual machine is started from, in the folder FOLDER: kernel, initrd, a disk with Debian 12 on it, an
# empty swap disk, and the keys to it. Every package is Debian's. Called with the machine's name and address and the
# address of this machine.
set -eu
folder=$1 name=$2 address=$3 gateway=$4
PATH=$PATH:/usr/sbin:/sbin
rm -rf "$folder"
mkdir -p "$folder"
chmod 700 "$folder"
umask 077
root=$folder/root

packages=linux-image-cloud-amd64,systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,iproute2,nftables
packages=$packages,containerd,runc,conntrack,curl,ca-certificates,procps,util-linux-extra,kmod
# Not 077: what packages make for everybody must be there for everybody.
(umask 022 && mmdebstrap --quiet --variant=minbase --mode=root \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --include="$packages" bookworm "$root")

ssh-keygen -q -t ed25519 -N '' -C '' -f "$folder/key"
rm -f "$root"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C '' -f "$root/etc/ssh/ssh_host_ed25519_key"
echo "$address $(cat "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$folder/known_hosts"
mkdir -p "$root/root/.ssh"
cp "$folder/key.pub" "$root/root/.ssh/authorized_keys"

echo "$name" >"$root/etc/hostname"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
echo '# This host has no name server.' >"$root/etc/resolv.conf"
printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb none swap sw 0 0\n' >"$root/etc/fstab"
printf '[Match]\nType=ether\n\n[Network]\nAddress=%s/24\nGateway=%s\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
    "$address" "$gateway" >"$root/etc/systemd/network/10-lan.network"
chmod 644 "$root/etc/hostname" "$root/etc/hosts" "$root/etc/resolv.conf" "$root/etc/fstab" \
    "$root/etc/systemd/network/10-lan.network"
units=$root/etc/systemd/system
ln -sf /lib/systemd/system/systemd-networkd.service "$units/multi-user.target.wants/"
# Nothing of its own accord at odd hours, and no questions at the first start.
rm -rf "$units/timers.target.wants" "$units/multi-user.target.wants/e2scrub_reap.service"
ln -sf /dev/null "$units/systemd-firstboot.service"

mv "$root"/boot/vmlinuz-* "$folder/kernel"
mv "$root"/boot/initrd.img-* "$folder/initrd"
truncate -s 4G "$folder/disk"
mke2fs -q -t ext4 -d "$root" "$folder/disk"
truncate -s 64M "$folder/swap"
mkswap -q "$folder/swap"
rm -rf "$root"
