# What package managers are asked. `$1` is the manager, the rest are packages.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

# The names of all packages that are installed.
installed() {
    case $1 in
    apt-get) dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' ;;
    dnf | yum | zypper) rpm -qa --qf '%{NAME}\n' ;;
    apk) apk info -q ;;
    pacman) pacman -Qq ;;
    esac
}

# What else would go with the packages, or what says that something would.
needs() {
    manager=$1
    shift
    [ $# -gt 0 ] || return 0
    case $manager in
    apt-get)
        would=$(apt-get -s purge "$@" 2>/dev/null | awk '$1 == "Purg" || $1 == "Remv" {print $2}')
        for package in $would; do
            case " $* " in *" $package "*) ;; *) echo "$package" ;; esac
        done
        ;;
    dnf | yum | zypper) rpm -e --test "$@" 2>&1 | sed -n 's/.*is needed by (installed) //p' | sort -u ;;
    pacman) pacman -Rp "$@" 2>&1 | sed -n 's/.* required by //p' | sort -u ;;
    esac
}

# Removes the packages with their configuration.
remove() {
    manager=$1
    shift
    case $manager in
    apt-get) DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq "$@" ;;
    dnf | yum | zypper) rpm -e "$@" ;;
    apk) apk del --quiet "$@" ;;
    pacman) pacman -Rn --noconfirm "$@" ;;
    esac
}

