# Installs "$@" and puts down what was not there before.
record=/var/lib/rkctl/original/packages
before=$(mktemp)
trap 'rm -f "$before"' EXIT
installed $manager | sort -u >$before
touch $record
echo $manager >/var/lib/rkctl/original/package-manager
# Reads names, adds them to the record.
note() { sort -u - $record >$record.new && mv -f $record.new $record; }
printf '%s\n' "$@" | sort -u | comm -23 - $before | note
status=0
case $manager in
apt-get)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
    ;;
dnf | yum) $manager install -y -q "$@" >/dev/null || status=$? ;;
zypper) zypper --non-interactive --quiet install --no-recommends "$@" >/dev/null || status=$? ;;
apk) apk add --quiet "$@" || status=$? ;;
pacman) pacman --sync --refresh --noconfirm --needed --quiet "$@" >/dev/null || status=$? ;;
esac
installed $manager | sort -u | comm -13 $before - | note
exit $status
