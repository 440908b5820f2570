# Runs once when a child's OS is made, with its root as $1. Nothing of the system itself is changed.
set -eu
root=$1

# A development image: root logs in on the serial console without a password.
chroot "$root" passwd -q -d root
echo zemin-child > "$root/etc/hostname"
echo "/dev/sda / ext4 rw 0 1" > "$root/etc/fstab"
# Every machine that starts from this image gets its own.
: > "$root/etc/machine-id"
# What a first boot would do anew (ldconfig, users, catalogs) the packages did when they were installed, a moment ago.
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"

# With `zemin.report` on the kernel's command line the guest says on its console how it fares, and powers off.
cat > "$root/etc/systemd/system/zemin-report.service" <<UNIT
[Unit]
Description=Report to the test
ConditionKernelCommandLine=zemin.report
After=multi-user.target
[Service]
Type=exec
ExecStart=/usr/local/sbin/zemin-report
UNIT
cat > "$root/usr/local/sbin/zemin-report" <<'REPORT'
#!/bin/sh
# Opened anew for each line: the terminal is hung up when a login begins on it.
say() { echo "report $*" > /dev/ttyS0; }
systemctl is-system-running --wait
say "state $(systemctl is-system-running)"
say "failed $(systemctl --failed --no-legend --plain | wc -l)" $(systemctl --failed --no-legend --plain)
say "root $(findmnt -n -o SOURCE,FSTYPE /)"
say "driver $(basename "$(readlink /sys/block/sda/device/../../../driver)")"
dd if=/dev/urandom of=/root/data bs=1M count=16 2> /dev/null
sync
one=$(md5sum < /root/data)
echo 3 > /proc/sys/vm/drop_caches
[ "$one" = "$(md5sum < /root/data)" ] && say "data right"
say "end"
systemctl poweroff
REPORT
chmod 755 "$root/usr/local/sbin/zemin-report"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../zemin-report.service "$root/etc/systemd/system/multi-user.target.wants/zemin-report.service"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt
