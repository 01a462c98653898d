#!/usr/bin/env bash
# Makes the images that the suite's pods run, as one OCI archive: target/conformance/images.tar. They are called as the
# suite calls them, in a place of their own (rkctl.local/e2e) that its list of registries is pointed to, so that no pod
# of a test leads out of the machine. Made of Debian's packages, busybox-static, etcd and the programs of suite.sh.
set -euo pipefail
cd "$(dirname "$0")/../../.."

here=$PWD/target/conformance
tree=$here/gopath/src/k8s.io/kubernetes/test/images
prefix=rkctl.local/e2e
archive=$here/images.tar
[[ -e $archive ]] && exit 0

work=$(mktemp -d "$here/images.XXXXXX")
trap 'rm -rf "$work"' EXIT
oci=$work/oci blobs=$work/oci/blobs/sha256
mkdir -p "$blobs"
manifests=()

# layer FOLDER NAME: the folder as a layer; its digest is kept under the name.
layer() {
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$work/$2.tar" .
    keep "$work/$2.tar" "$2"
}

# keep FILE NAME: moves a file to the blobs; its digest and size are kept under the name.
keep() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    printf '"digest":"sha256:%s","size":%s' "$digest" "$(stat -c %s "$1")" >"$work/$2.descriptor"
    echo "$digest" >"$work/$2.digest"
    mv "$1" "$blobs/$digest"
}

# image NAME:TAG SETTINGS LAYER...: an image of layers; the settings are the fields of its `config` in JSON.
image() {
    local name=$1 settings=$2 layers=() diffs=()
    shift 2
    for each in "$@"; do
        layers+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",$(<"$work/$each.descriptor")}")
        diffs+=("\"sha256:$(<"$work/$each.digest")\"")
    done
    local path='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'
    printf '{"architecture":"amd64","os":"linux","config":{%s%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$path" "${settings:+,$settings}" "$(IFS=,; echo "${diffs[*]}")" >"$work/config"
    keep "$work/config" config
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[%s]}' \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json \
        "$(<"$work/config.descriptor")" "$(IFS=,; echo "${layers[*]}")" >"$work/manifest"
    keep "$work/manifest" manifest
    manifests+=("{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",$(<"$work/manifest.descriptor"),\
\"annotations\":{\"io.containerd.image.name\":\"$prefix/$name\",\"org.opencontainers.image.ref.name\":\"${name#*:}\"}}")
}

# What pods call in a shell: dig, curl, nc, ip and what is with them.
debian() {
    mmdebstrap --quiet --variant=essential --include=bash,bind9-dnsutils,curl,mawk,netcat-openbsd,iproute2 \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/debian.tar"
    # Devices and sockets are the runtime's; the order of files is mmdebstrap's own.
    keep "$work/debian.tar" debian
}

agnhost() {
    mkdir -p "$work/agnhost/uploads"
    install "$here/bin/agnhost" "$work/agnhost/agnhost"
    ln -s agnhost "$work/agnhost/agnhost-2"
    install -m 0644 "$tree/agnhost/porter/localhost.crt" "$tree/agnhost/porter/localhost.key" "$work/agnhost/"
    layer "$work/agnhost" agnhost
    mkdir "$work/nautilus"
    install -m 0644 "$tree/nautilus/html/data.json" "$work/nautilus/"
    layer "$work/nautilus" nautilus
    local entry='"Entrypoint":["/agnhost"],"WorkingDir":"/"'
    image agnhost:2.21 "$entry,\"Cmd\":[\"pause\"]" debian agnhost
    image nautilus:1.0 "$entry,\"Cmd\":[\"test-webserver\"]" debian agnhost nautilus
    image pause:3.2 "$entry,\"Cmd\":[\"pause\"]" agnhost
    image jessie-dnsutils:1.0 '"Cmd":["/bin/bash"]' debian
}

busybox() {
    mkdir -p "$work/busybox"/{bin,etc,home,root,tmp,usr/sbin,var}
    chmod 1777 "$work/busybox/tmp"
    install /bin/busybox "$work/busybox/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [[ $applet == busybox ]] || ln -s busybox "$work/busybox/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$work/busybox/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$work/busybox/etc/group"
    layer "$work/busybox" busybox
    image busybox:1.29 '"Cmd":["sh"]' busybox
    # The bit that makes it root's whoever starts it is what the test is about.
    mkdir -p "$work/nnp/usr/local/bin"
    install -m 6755 "$here/bin/nonewprivs" "$work/nnp/usr/local/bin/nnp"
    layer "$work/nnp" nnp
    image nonewprivs:1.0 '"Cmd":["nnp"]' busybox nnp
    image nonroot:1.0 '"User":"1234","Cmd":["sh"]' busybox
}

# Servers of a page, which the suite moves away by its path to see probes fail. Busybox does not end at the usual signal.
pages() {
    local stop='"StopSignal":"SIGKILL"'
    local pages=usr/local/apache2/htdocs
    mkdir -p "$work/httpd/$pages" "$work/nginx/usr/share/nginx/html"
    echo '<html><body><h1>It works!</h1></body></html>' >"$work/httpd/$pages/index.html"
    echo '<html><body><h1>Welcome to nginx!</h1></body></html>' >"$work/nginx/usr/share/nginx/html/index.html"
    layer "$work/httpd" httpd
    layer "$work/nginx" nginx
    for tag in 2.4.38-alpine 2.4.39-alpine; do
        image "httpd:$tag" "$stop,\"Cmd\":[\"httpd\",\"-f\",\"-p\",\"80\",\"-h\",\"/$pages\"]" busybox httpd
    done
    for tag in 1.14-alpine 1.15-alpine; do
        image "nginx:$tag" "$stop,\"Cmd\":[\"httpd\",\"-f\",\"-p\",\"80\",\"-h\",\"/usr/share/nginx/html\"]" busybox nginx
    done
}

apiserver() {
    mkdir -p "$work/sample" "$work/etcd/usr/local/bin"
    install "$here/bin/sample-apiserver" "$work/sample/sample-apiserver"
    install /usr/bin/etcd "$work/etcd/usr/local/bin/etcd"
    layer "$work/sample" sample
    layer "$work/etcd" etcd
    image sample-apiserver:1.17 '"Entrypoint":["/sample-apiserver"]' debian sample
    image etcd:3.4.13-0 '' debian etcd
}

echo "conformance: making the images"
debian
agnhost
busybox
pages
apiserver
printf '{"imageLayoutVersion":"1.0.0"}' >"$oci/oci-layout"
printf '{"schemaVersion":2,"manifests":[%s]}' "$(IFS=,; echo "${manifests[*]}")" >"$oci/index.json"
tar -C "$oci" -cf "$archive.$$" .
mv "$archive.$$" "$archive"
