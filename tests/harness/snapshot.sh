# What of a host `rkctl up` may touch. Two snapshots are equal where nothing was left behind.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
echo "# files"
# What every boot and every login changes is left out, and what the runtime keeps of images that were there.
find /etc /opt /usr/local /root /srv /run/netns /var/lib/kubelet /var/lib/rkctl /var/log/pods /var/log/containers \
    \( -path /etc/ssh -o -path /etc/systemd/network \) -prune -o -printf '%p %m %l\n' 2>/dev/null | sort
find /etc /opt /usr/local /root /srv /var/lib/kubelet /var/lib/rkctl /var/log/pods /var/log/containers \
    \( -path /etc/ssh -o -path /etc/systemd/network \) -prune -o -type f -print0 2>/dev/null |
    xargs -0 -r sha256sum | sort -k 2
echo "# links"
ip -o link show | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | sort
echo "# routes"
ip route show | sort
echo "# rules"
nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/'
iptables-save 2>/dev/null | grep -v '^#' | sed 's/ \[[0-9]*:[0-9]*\]$//'
echo "# kernel settings"
for key in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables fs/inotify/max_user_instances \
    fs/inotify/max_user_watches net/ipv4/conf/all/forwarding vm/overcommit_memory kernel/panic; do
    [ -e "/proc/sys/$key" ] && echo "$key $(cat "/proc/sys/$key")"
done
echo "# units"
systemctl list-unit-files --no-legend --plain --type=service | awk '{print $1, $2}' | sort
systemctl list-units --no-legend --plain --type=service --state=running,failed |
    awk '{print $1, $3, $4}' | grep -vE '^(user@|session-|polkit|systemd-(hostnamed|timedated|localed|tmpfiles))' | sort
awk '{print $1}' /proc/swaps
echo "# mounts"
awk '{print $2, $3}' /proc/mounts | grep -v '^/run/user/' | sort
echo "# name"
hostname
echo "# processes"
ps -eo comm= | grep -E 'rkctl|containerd|runc|pause' | sort | uniq -c
echo "# ports"
# The runtime's port for streams is another with every start.
ss -Hltunp | grep -v '"containerd"' | awk '{print $1, $5}' | sort -u
