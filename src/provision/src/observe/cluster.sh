# What a control-plane host says of its cluster, in lines as the facts of a host. Changes nothing. It is asked beside
# them: it mostly waits.
LC_ALL=C
export LC_ALL
say() { printf '%s\t%s\n' "$1" "$2"; }
if [ -x /usr/local/bin/rkctl ] && [ -s /etc/rkctl/server.yaml ]; then
    [ -f /etc/rkctl/pki/ca.crt ] && say ca "$(tr '\n' '|' </etc/rkctl/pki/ca.crt)"
    say pki "$(/usr/local/bin/rkctl node pki init --dry-run 2>/dev/null | tr -d '\n')"
    if systemctl is-active -q rkctl-server.service; then
        say cluster "$(/usr/local/bin/rkctl node facts 2>/dev/null | tr -d '\n')"
    fi
fi
say end yes
