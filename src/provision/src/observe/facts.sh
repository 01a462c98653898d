# Facts of a host, one a line: a key, a tab, values with tabs between. Changes nothing.
# The parameters are files to look at.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
say() { printf '%s\t%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
first() { sed -n 1p "$1" 2>/dev/null; }

say clock "$(date +%s.%N)"
say uid "$(id -u)"
say arch "$(uname -m)"
say kernel "$(uname -r)"
say hostname "$(first /proc/sys/kernel/hostname)"
say hostname-file "$(first /etc/hostname)"
for file in /etc/os-release /usr/lib/os-release; do
    if [ -r "$file" ]; then
        sed -n -e 's/^ID=/os-id\t/p' -e 's/^VERSION_ID=/os-version\t/p' -e 's/^ID_LIKE=/os-like\t/p' \
            -e 's/^PRETTY_NAME=/os-name\t/p' "$file" | tr -d '"'
        break
    fi
done
[ -d /run/systemd/system ] && say systemd yes
for manager in apt-get dnf yum zypper apk pacman; do
    has $manager && { say package-manager $manager; break; }
done
for tool in containerd runc nft conntrack ip modprobe sysctl; do has $tool && say tool $tool; done
[ -f /sys/fs/cgroup/cgroup.controllers ] && say cgroup 2 || say cgroup 1
say capabilities "$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)"
say address "$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')"
ip -o -4 address show 2>/dev/null | awk '{sub("/.*", "", $4); print "local-address\t" $4}'
say memory-kib "$(sed -n 's/^MemTotal:[[:space:]]*\([0-9]*\).*/\1/p' /proc/meminfo)"
for dir in /var/lib /usr/local/bin; do
    say disk-free-kib "$dir	$(df -Pk $dir 2>/dev/null | awk 'NR == 2 {print $4}')"
done

# Swap, now and at boot.
sed -n '2,$s/^\([^[:space:]]*\).*/swap\t\1/p' /proc/swaps 2>/dev/null
awk '$1 !~ /^#/ && $3 == "swap" {print "fstab-swap\t" $1}' /etc/fstab 2>/dev/null

# SELinux.
if [ -r /sys/fs/selinux/enforce ]; then
    [ "$(cat /sys/fs/selinux/enforce)" = 1 ] && say selinux enforcing || say selinux permissive
    [ -d /usr/share/selinux/packages/container ] || ls /usr/share/selinux/packages/container* >/dev/null 2>&1 ||
        ls -d /var/lib/selinux/*/active/modules/*/container >/dev/null 2>&1 || say selinux-lacks container-selinux
fi

# Kernel modules that are wanted, and kernel settings that are wanted.
builtin="/lib/modules/$(uname -r)/modules.builtin"
# $2 is a file that the module brings, $3 a function of it, the rest a command that only works with it. Without a
# folder of modules the table of the kernel's functions tells, which is long: it is asked last.
module() {
    name=$1 brings=$2 function=$3
    shift 3
    if [ -e "$brings" ] || [ -d "/sys/module/$name" ] || "$@" >/dev/null 2>&1 ||
        grep -q "/$name\.ko" "$builtin" 2>/dev/null ||
        { [ ! -e "$builtin" ] && grep -q " $function\$" /proc/kallsyms 2>/dev/null; }; then
        say module "$name	present"
    elif has modprobe && modprobe -n -q "$name" 2>/dev/null; then
        say module "$name	loadable"
    else
        say module "$name	missing"
    fi
}
vxlan_link() { ip -o link show type vxlan | grep -q .; }
module br_netfilter /proc/sys/net/bridge/bridge-nf-call-iptables br_nf_forward false
module nf_conntrack /proc/sys/net/netfilter/nf_conntrack_max nf_conntrack_in false
module nf_tables /nonexistent nf_tables_newtable nft list tables
module vxlan /nonexistent vxlan_xmit vxlan_link
if grep -qw overlay /proc/filesystems; then say module "overlay	present"; else module overlay /nonexistent ovl_mkdir false; fi
for key in net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables \
    fs.inotify.max_user_instances fs.inotify.max_user_watches; do
    file=/proc/sys/$(echo "$key" | tr . /)
    [ -e "$file" ] || { say sysctl "$key		missing"; continue; }
    [ -w "$file" ] && state=writable || state=read-only
    say sysctl "$key	$(cat "$file")	$state"
done

# Files: content and age decide what is written and what is restarted. One call for all of them.
for file in "$@"; do
    shift
    if [ -L "$file" ]; then
        say link "$file	$(readlink "$file")"
    elif [ -f "$file" ]; then
        # The binary is large: while inode, size and times are those it was written with, so is its content.
        if [ "$file" = /usr/local/bin/rkctl ] && known=$(cat /var/lib/rkctl/binary.sha256 2>/dev/null) &&
            [ "${known%	*}" = "$(stat -c '%i %s %Y %Z' "$file")" ]; then
            say file "$file	${known##*	}	$(stat -c '%a	%Y' "$file")"
        else
            set -- "$@" "$file"
        fi
    fi
done
if [ $# -gt 0 ]; then
    { stat -c '%n	%a	%Y' "$@"; sha256sum "$@"; } 2>/dev/null | awk -F '\t' '
        NF == 3 {rest[$1] = $2 "\t" $3; next}
        {file = substr($0, 67); if (file in rest) print "file\t" file "\t" substr($0, 1, 64) "\t" rest[file]}'
fi
for file in /var/lib/rkctl/original/*; do [ -e "$file" ] && say original "${file##*/}"; done
[ -e /var/lib/rkctl/agent/kubeconfig ] && say joined yes
[ -r /var/lib/rkctl/agent/client.crt ] && say agent-certificate "$(tr '\n' '|' </var/lib/rkctl/agent/client.crt)"
sed -n '/^# BEGIN rkctl$/,/^# END rkctl$/s/^/hosts\t/p' /etc/hosts 2>/dev/null

# Units: one call for all of them, which leaves an empty line between.
systemctl show -p Id,LoadState,ActiveState,UnitFileState,NRestarts,ActiveEnterTimestamp rkctl-server.service \
    rkctl-agent.service containerd.service firewalld.service ufw.service nftables.service systemd-networkd.service \
    NetworkManager.service 2>/dev/null | awk '
    function tell() {
        if (unit["LoadState"] == "loaded")
            print unit["Id"] "|" unit["ActiveState"] "|" unit["UnitFileState"] "|" unit["NRestarts"] "|" \
                unit["ActiveEnterTimestamp"]
        split("", unit)
    }
    /^$/ {tell(); next}
    {at = index($0, "="); unit[substr($0, 1, at - 1)] = substr($0, at + 1)}
    END {tell()}' | while IFS='|' read -r unit active enabled restarts since; do
    [ -n "$since" ] && since=$(date -d "$since" +%s 2>/dev/null)
    say unit "${unit%.service}	$active	$enabled	${since:-0}	$restarts"
done

# Who listens where something of ours will.
if has ss; then
    ss -Hltnup 2>/dev/null | awk '{
        n = split($5, part, ":"); port = part[n]
        # What only this host reaches leaves the ports of ingress to others.
        local = $5 ~ /^(127\.|\[::1\]|\[::ffff:127\.)/
        ours = port == 6443 || port == 10250 || port == 10248 || port == 6444 || (port == 8472 && $1 == "udp")
        if (ours || (!local && (port == 80 || port == 443) && $1 == "tcp")) {
            # A socket without a process: of a VXLAN link, or what we may not see.
            who = port == 8472 ? "the kernel" : "another program"
            if (match($0, /users:\(\("[^"]*"/)) who = substr($0, RSTART + 9, RLENGTH - 10)
            print "listens\t" $1 "\t" port "\t" who
        }
    }'
fi

# Firewalls.
if has ufw; then
    grep -q '^ENABLED=yes' /etc/ufw/ufw.conf 2>/dev/null && say ufw-enabled yes
    sed -n 's/^### tuple ### //p' /etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null | grep 'comment=726b63746c$' |
        sed 's/^/ufw-rule\t/'
    sed -n '/^# BEGIN rkctl$/,/^# END rkctl$/s/^/ufw-services\t/p' /etc/ufw/after.rules 2>/dev/null
fi
if has nft; then
    nft list chains 2>/dev/null | awk '
        $1 == "table" {family = $2; table = $3}
        $1 == "chain" {chain = $2}
        $1 == "type" && $2 == "filter" && ($4 == "input" || $4 == "forward") {
            policy = "accept"
            for (i = 1; i <= NF; i++) if ($i == "policy") policy = $(i + 1)
            sub(";", "", policy)
            print family, table, chain, $4, policy
        }' | while read -r family table chain hook policy; do
        case $table in rkctl* | firewalld) continue ;; esac
        rules=$(nft list chain "$family" "$table" "$chain" 2>/dev/null)
        refuses=no
        [ "$policy" = drop ] && refuses=yes
        printf '%s\n' "$rules" | grep -Eq '(drop|reject)( |$)' && refuses=yes
        opened=no
        printf '%s\n' "$rules" | grep -q "jump rkctl-$hook" && opened=yes
        say nft-chain "$family	$table	$chain	$hook	$refuses	$opened"
    done
fi

# Whose host it is, and what it was made with.
for role in server agent; do
    sed -nE "s/^(nodeName|podCIDR|serviceCIDR|clusterDomain): \"?([^\"]*)\"?\$/$role-config\t\1\t\2/p" \
        /etc/rkctl/$role.yaml 2>/dev/null
done
sed -n 's/^gitops: {/server-config\tgitops\t{/p' /etc/rkctl/server.yaml 2>/dev/null
[ -s /var/lib/rkctl/server/state.db ] && say server-state yes
sed -n 's/^clusterName: "\(.*\)"$/cluster-name\t\1/p' /etc/rkctl/server.yaml 2>/dev/null
say end yes
