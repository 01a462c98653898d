# Puts the block on standard input into the filter table of ufw's own file $1, in the place of one that is there, and
# has ufw read it. What ufw does not take is put back.
set -eu
PATH=$PATH:/usr/sbin:/sbin
file=$1
cp -p "$file" "$file.rkctl"
{ cat; echo EOF; cat "$file"; } | awk '
    !read {if ($0 == "EOF") read = 1; else block = block $0 "\n"; next}
    /^# BEGIN rkctl$/ {ours = 1}
    ours {if ($0 == "# END rkctl") ours = 0; next}
    /^\*/ {table = $1}
    $1 == "COMMIT" && table == "*filter" && !done {printf "%s", block; done = 1}
    {print}
    END {exit !done}' >"$file.rkctl-new" || {
    rm -f "$file.rkctl" "$file.rkctl-new"
    echo "$file has no filter table that ends with COMMIT" >&2
    exit 1
}
cat "$file.rkctl-new" >"$file"
rm -f "$file.rkctl-new"
if ! ufw reload >/dev/null </dev/null; then
    mv "$file.rkctl" "$file"
    ufw reload >/dev/null </dev/null
    exit 1
fi
rm -f "$file.rkctl"
