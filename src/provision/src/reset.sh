# Leaves the host as it was before rkctl: what rkctl put here goes, what it put aside comes back.
# Every part stands by itself, so that a second run finishes what the first could not. What cannot be taken back is a
# line that begins with `stays: `.
original=/var/lib/rkctl/original
status=0
failed() { echo "$1" >&2; status=1; }
has() { command -v "$1" >/dev/null 2>&1; }

# The agent first, so that it starts nothing again.
for unit in rkctl-agent rkctl-server; do
    if [ -e "/etc/systemd/system/$unit.service" ]; then
        systemctl disable --now -q "$unit.service" 2>/dev/null || failed "cannot stop $unit"
        rm -f "/etc/systemd/system/$unit.service"
    fi
    systemctl reset-failed "$unit.service" 2>/dev/null
done

# Containers of pods, and the images that came with rkctl.
if has ctr && systemctl is-active -q containerd; then
    ctr_k8s() { ctr -n k8s.io "$@" 2>/dev/null; }
    for task in $(ctr_k8s tasks ls -q); do ctr_k8s tasks kill -s KILL "$task"; done
    round=0
    while [ "$round" -lt 50 ] && ctr_k8s tasks ls | grep -q RUNNING; do
        sleep 0.1
        round=$((round + 1))
    done
    for task in $(ctr_k8s tasks ls -q); do ctr_k8s tasks rm -f "$task" >/dev/null; done
    for container in $(ctr_k8s containers ls -q); do
        ctr_k8s containers rm "$container" >/dev/null || failed "cannot remove the container $container"
        # What the runtime keeps of pods beside its containers; their mounts go first.
        for kept in /run/containerd /var/lib/containerd; do
            for kind in containers sandboxes; do
                folder=$kept/io.containerd.grpc.v1.cri/$kind/$container
                [ -d "$folder" ] || continue
                awk -v folder="$folder/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r |
                    while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null; done
                rm -rf --one-file-system "$folder"
            done
        done
    done
    # The runtime gives an image a second name, its digest.
    for digest in $(ctr_k8s images ls | awk '$1 ~ /^rkctl\.local\// {print $3}' | sort -u); do
        for image in $(ctr_k8s images ls | awk -v digest="$digest" '$3 == digest {print $1}'); do
            ctr_k8s images rm --sync "$image" >/dev/null
        done
    done
fi

# Control groups of pods: empty now, innermost first.
[ -d /sys/fs/cgroup/kubepods.slice ] && systemctl stop -q kubepods.slice 2>/dev/null
find /sys/fs/cgroup -depth -type d \( -path '*/kubepods/*' -o -name kubepods -o -path '*/kubepods.slice*' \) \
    -exec rmdir {} \; 2>/dev/null

# Mounts of pods, innermost first, and their network namespaces. A bind passes on what is unmounted in it to what it was
# made of, which is the host's: each is set apart before.
kubelet=$(readlink -f /var/lib/kubelet)
[ -n "$kubelet" ] || kubelet=/var/lib/kubelet
awk -v kubelet="$kubelet/" 'index($2, kubelet) == 1 || $2 ~ "^/run/netns/cni-|^/var/run/netns/cni-|^/run/containerd/io.containerd.(grpc.v1.cri|runtime.v2.task)/.*(k8s.io|sandboxes)/" {print $2}' \
    /proc/mounts | sort -r >/run/rkctl-mounts
tac /run/rkctl-mounts | while read -r mount; do mount --make-rprivate "$mount" 2>/dev/null; done
while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null; done </run/rkctl-mounts
rm -f /run/rkctl-mounts
for namespace in /run/netns/cni-*; do [ -e "$namespace" ] && rm -f "$namespace"; done
rmdir /run/netns 2>/dev/null

# Links, routes and rules of the network.
if has ip; then
    ip -o link show 2>/dev/null | sed -n 's/^[0-9]*: \(rk[bv][rx][0-9][0-9]*\)[:@].*/\1/p' | while read -r link; do
        ip link delete "$link" 2>/dev/null
    done
fi
if has nft; then
    nft list tables 2>/dev/null | awk '$3 ~ /^rkctl/ {print $2, $3}' | while read -r family table; do
        nft delete table "$family" "$table" || failed "cannot delete the nftables table $table"
    done
fi

# Openings in firewalls.
if [ -e /etc/firewalld/policies/rkctl-host.xml ] || [ -e /etc/firewalld/policies/rkctl-forward.xml ]; then
    rm -f /etc/firewalld/policies/rkctl-host.xml /etc/firewalld/policies/rkctl-forward.xml
    if systemctl is-active -q firewalld; then firewall-cmd --reload >/dev/null || failed "cannot reload firewalld"; fi
fi
if has ufw && grep -qs 'comment=726b63746c$' /etc/ufw/user.rules; then
    sed -n 's/^### tuple ### \(.*\) in comment=726b63746c$/\1/p' /etc/ufw/user.rules |
        while read -r verb protocol ports to any from; do
            case $verb in route:*) rule="route delete allow" ;; *) rule="delete allow" ;; esac
            [ "$protocol" != any ] && rule="$rule proto $protocol"
            rule="$rule from $from to $to"
            [ "$ports" != any ] && rule="$rule port $ports"
            # shellcheck disable=SC2086
            ufw $rule >/dev/null </dev/null || failed "cannot delete the ufw rule: $rule"
        done
fi
if has ufw && grep -qs '^# BEGIN rkctl$' /etc/ufw/after.rules; then
    sed -i '/^# BEGIN rkctl$/,/^# END rkctl$/d' /etc/ufw/after.rules
    ufw status 2>/dev/null | grep -q '^Status: active' && { ufw reload >/dev/null || failed "cannot reload ufw"; }
fi
if [ -e /etc/systemd/system/nftables.service.d/rkctl.conf ]; then
    rm -f /etc/systemd/system/nftables.service.d/rkctl.conf
    rmdir /etc/systemd/system/nftables.service.d 2>/dev/null
    nft -a list ruleset 2>/dev/null | awk '
        $1 == "table" {family = $2; table = $3}
        $1 == "chain" {chain = $2; if (chain ~ /^rkctl-/) own = own "delete chain " family " " table " " chain "\n"}
        /jump rkctl-/ && match($0, /# handle [0-9]+/) {
            print "delete rule " family " " table " " chain " " substr($0, RSTART + 2, RLENGTH - 2)
        }
        END {printf "%s", own}' | nft -f - || failed "cannot take the openings out of nftables"
fi

# What the host's network manager was told.
if [ -e /etc/systemd/network/05-rkctl.network ]; then
    rm -f /etc/systemd/network/05-rkctl.network
    networkctl reload 2>/dev/null
fi
if [ -e /etc/NetworkManager/conf.d/90-rkctl.conf ]; then
    rm -f /etc/NetworkManager/conf.d/90-rkctl.conf
    systemctl reload NetworkManager 2>/dev/null
fi

# Kernel settings, hosts file, name, swap.
rm -f /etc/sysctl.d/90-rkctl.conf /etc/modules-load.d/rkctl.conf
if [ -e $original/sysctl ]; then
    while IFS='=' read -r key value; do
        printf '%s\n' "$value" >"/proc/sys/$(echo "$key" | tr . /)" 2>/dev/null
    done <$original/sysctl
fi
# Modules that were not loaded; the kernel keeps those that someone else has come to use.
if [ -e $original/modules ]; then
    sort -u $original/modules | while read -r module; do modprobe -q -r "$module" 2>/dev/null; done
fi
if grep -qs '^# BEGIN rkctl$' /etc/hosts; then
    new=$(mktemp) && sed '/^# BEGIN rkctl$/,/^# END rkctl$/d' /etc/hosts >"$new" && cat "$new" >/etc/hosts
    rm -f "$new"
fi
if [ -s $original/hostname ]; then
    cat $original/hostname >/etc/hostname
    hostnamectl set-hostname "$(cat $original/hostname)" 2>/dev/null || hostname "$(cat $original/hostname)"
fi
if grep -qs '^#rkctl# ' /etc/fstab; then
    new=$(mktemp) && sed 's/^#rkctl# //' /etc/fstab >"$new" && cat "$new" >/etc/fstab
    rm -f "$new"
fi
if [ -e $original/swap ]; then swapon -a 2>/dev/null; fi

# The network's configuration, before the runtime starts without it: it watches the folder.
rm -f /etc/cni/net.d/10-rkctl.conflist /opt/cni/bin/rkctl-cni
[ "$(readlink /opt/cni/bin/loopback)" = /usr/local/bin/rkctl ] && rm -f /opt/cni/bin/loopback
rm -f /var/lib/cni/results/rkctl-* /var/lib/cni/results/cni-loopback-*
rmdir /opt/cni/bin /opt/cni /etc/cni/net.d /etc/cni /var/lib/cni/results /var/lib/cni 2>/dev/null

# Packages that were installed for the runtime and the network and that nobody else has come to need.
goes='' stays='' needed=''
if [ -s $original/packages ] && [ -s $original/package-manager ]; then
    manager=$(cat $original/package-manager)
    for package in $(installed "$manager" | sort -u | comm -12 - $original/packages); do
        # Stopping its unit would take the host's firewall down.
        if [ "$package" = nftables ] && systemctl is-enabled -q nftables 2>/dev/null; then
            stays="$stays $package"
            needed="$needed nftables.service"
        else
            goes="$goes $package"
        fi
    done
    # One that goes may be what another needs that stays.
    # shellcheck disable=SC2086
    others=$(needs "$manager" $goes)
    if [ -n "$others" ]; then
        stays="$stays$goes" needed="$needed $others" goes=''
    fi
    # shellcheck disable=SC2086
    [ -z "$stays" ] || echo "stays: the packages$stays are needed by" $needed
fi
has_word() { case " $1 " in *" $2 "*) true ;; *) false ;; esac }

# The runtime's configuration as it was.
if grep -qs '^# Written by rkctl' /etc/containerd/config.toml; then
    if [ -e $original/containerd-config.toml ]; then
        cp -p $original/containerd-config.toml /etc/containerd/config.toml
    else
        rm -f /etc/containerd/config.toml
    fi
    unit=$(cat $original/containerd-unit 2>/dev/null)
    # What was installed for rkctl and is needed by something else now runs for that.
    if has_word "$stays" containerd; then unit='active enabled'; fi
    case $unit in
    active*)
        systemctl stop containerd
        # Folders that it made because our configuration names no others.
        rmdir /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
        systemctl start containerd || failed "cannot start containerd"
        ;;
    ?*)
        systemctl stop containerd
        # It had never run: what it made for itself goes too.
        if [ -e $original/containerd-empty ]; then
            rm -rf --one-file-system /run/containerd
            find /var/lib/containerd -mindepth 1 -xdev -delete 2>/dev/null
            rmdir /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
        fi
        ;;
    esac
    case $unit in *disabled) systemctl disable -q containerd ;; esac
fi
if [ -n "$goes" ]; then
    # shellcheck disable=SC2086
    said=$(remove "$manager" $goes 2>&1 </dev/null) || failed "cannot remove the packages$goes: $(echo "$said" | tail -n 1)"
    if has_word "$goes" containerd; then rmdir /var/lib/containerd 2>/dev/null; fi
fi

# Files; the binary last, since it may be called again until then.
for log in /var/log/containers/*.log; do [ -L "$log" ] && rm -f "$log"; done
rm -rf /var/log/pods/*
if awk -v kubelet="$kubelet/" 'index($2, kubelet) == 1 {found = 1} END {exit !found}' /proc/mounts; then
    failed "something is still mounted below $kubelet: nothing is deleted there"
else
    rm -rf /var/lib/kubelet/pods
fi
rmdir /var/log/containers /var/log/pods /var/lib/kubelet 2>/dev/null
# A mount that is still there must not be emptied.
if grep -q ' /var/lib/rkctl/' /proc/mounts; then
    awk '$2 ~ "^/var/lib/rkctl/" {print $2}' /proc/mounts | sort -r | while read -r mount; do umount "$mount"; done
fi
if [ "$status" = 0 ]; then
    if grep -q ' /var/lib/rkctl ' /proc/mounts; then
        find /var/lib/rkctl -mindepth 1 -xdev -delete
    else
        rm -rf /var/lib/rkctl
    fi
    rm -rf /etc/rkctl
    rm -f /usr/local/bin/rkctl
fi
systemctl daemon-reload
exit $status
