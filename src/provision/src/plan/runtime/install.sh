# Installs "$@" and puts down what was not there before and is brought by this: what others install meanwhile is
# theirs. Only apt tells beforehand what a package brings with it; elsewhere that stays after a reset.
record=/var/lib/rkctl/original/packages
before=$(mktemp)
trap 'rm -f "$before"' EXIT
installed $manager | sort -u >$before
touch $record
echo $manager >/var/lib/rkctl/original/package-manager
status=0
case $manager in
apt-get)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || status=$?
    brings=$(apt-get -s install -y -qq --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Inst \([^ :]*\).*/\1/p')
    ;;
*) brings=$(printf '%s\n' "$@") ;;
esac
# Put down before, since a connection may break in between.
ours=$(echo "$brings" | sort -u | comm -23 - $before)
echo "$ours" | sort -u - $record >$record.new && mv -f $record.new $record
case $manager in
apt-get) [ $status != 0 ] || apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$? ;;
dnf | yum) $manager install -y -q "$@" >/dev/null || status=$? ;;
zypper) zypper --non-interactive --quiet install --no-recommends "$@" >/dev/null || status=$? ;;
apk) apk add --quiet "$@" || status=$? ;;
pacman) pacman --sync --refresh --noconfirm --needed --quiet "$@" >/dev/null || status=$? ;;
esac
# What did not come is nobody's of ours if somebody installs it later.
installed $manager | sort -u | comm -12 - $record >$record.new && mv -f $record.new $record
exit $status
