#!/bin/busybox sh
# The first program of the initrd: loads the drivers, mounts the root, hands over. It never configures the network:
# that is the image's own affair, and `ip=` means nothing here.

export PATH=/bin
/bin/busybox mount -t proc -o nosuid,nodev,noexec proc /proc
/bin/busybox mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
/bin/busybox mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev

root='' rootfstype='' rootflags='' access=ro init=/sbin/init panic=0 delay=20
read -r cmdline </proc/cmdline
for arg in $cmdline; do
    case $arg in
    root=*) root=${arg#root=} ;;
    rootfstype=*) rootfstype=${arg#rootfstype=} ;;
    rootflags=*) rootflags=${arg#rootflags=} ;;
    rootdelay=*) delay=${arg#rootdelay=} ;;
    init=*) init=${arg#init=} ;;
    panic=*) panic=${arg#panic=} ;;
    ro | rw) access=$arg ;;
    esac
done

while read -r module; do
    busybox insmod "/modules/$module.ko" || echo "initrd: the driver $module could not be loaded"
done </modules/order

# Label and UUID from an ext4 superblock (magic at 0x438, UUID at 0x468, label at 0x478); Debian's busybox has no blkid.
bytes() {
    busybox od -An -v -tx1 -j "$2" -N "$3" "$1" 2>/dev/null | busybox tr -d ' \n'
}
describe() {
    [ "$(bytes "$1" 1080 2)" = 53ef ] || return
    label=$(busybox dd if="$1" bs=1 skip=1144 count=16 2>/dev/null | busybox tr -d '\000')
    uuid=$(bytes "$1" 1128 16 | busybox sed 's/^\(.\{8\}\)\(....\)\(....\)\(....\)/\1-\2-\3-\4-/')
    echo ", ext4 LABEL=$label UUID=$uuid"
}

fail() {
    echo "initrd: $1"
    echo "initrd: looked for root=$root rootfstype=${rootfstype:-any} rootflags=${rootflags:-none}"
    echo "initrd: kernel arguments: $cmdline"
    echo "initrd: block devices:"
    for device in /sys/class/block/*; do
        [ -e "$device" ] || { echo "initrd:   none"; break; }
        read -r sectors <"$device/size"
        echo "initrd:   ${device##*/}: $((sectors / 2048)) MiB$(describe "/dev/${device##*/}")"
    done
    echo "initrd: drivers:"
    while read -r module rest; do echo "initrd:   $module"; done </proc/modules
    busybox sync
    case $panic in
    0) while :; do busybox sleep 3600; done ;;
    -*) ;;
    *) busybox sleep "$panic" ;;
    esac
    busybox reboot -f
}

find_root() {
    case $root in
    UUID=* | LABEL=*) device=$(busybox findfs "$root" 2>/dev/null) ;;
    *) device=$root ;;
    esac
    [ -b "$device" ]
}

[ -n "$root" ] || fail "the kernel arguments name no root="
tenths=0
until find_root; do
    tenths=$((tenths + 1))
    [ "$tenths" -le "$((delay * 10))" ] || fail "the root device $root did not appear within $delay s"
    busybox usleep 100000
done

busybox mount ${rootfstype:+-t "$rootfstype"} -o "$access${rootflags:+,$rootflags}" "$device" /root ||
    fail "the root device $device could not be mounted"
# A link in the image is followed inside the image only once it is the root, so only its presence is asked for.
[ -e "/root$init" ] || [ -h "/root$init" ] || fail "the root device $device has no $init"

# What this VM alone was handed, in an archive behind this one: it goes to where `LoadCredential=` looks (systemd.exec(5)),
# into memory. systemd keeps a /run that is mounted already.
if [ -d /credentials ]; then
    {
        busybox mount -t tmpfs -o nosuid,nodev,mode=0755,size=20%,nr_inodes=800k tmpfs /root/run &&
            busybox mkdir -m 0700 /root/run/credstore &&
            busybox cp /credentials/* /root/run/credstore/ &&
            busybox chmod 0400 /root/run/credstore/*
    } || echo "initrd: the credentials of this VM could not be handed over"
fi

for place in proc sys dev; do
    busybox mount -o move "/$place" "/root/$place"
done
exec busybox switch_root /root "$init"
