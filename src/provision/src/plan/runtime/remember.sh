# What the runtime's unit and folder were before rkctl.
mkdir -p /var/lib/rkctl/original
state=/var/lib/rkctl/original/containerd-unit
[ -e $state ] || {
    echo "$(systemctl is-active containerd) $(systemctl is-enabled containerd 2>/dev/null)" >$state
    [ -n "$(ls -A /var/lib/containerd 2>/dev/null)" ] || touch /var/lib/rkctl/original/containerd-empty
}
