# Runs once when the parent OS is made, with its root as $1. Files that are ours lie in overlay/.
set -eu
root=$1

# A development image: root logs in on the serial console without a password; over ssh only with a key.
chroot "$root" passwd -q -d root
chroot "$root" systemctl -q enable systemd-networkd.service ssh.socket
# sshd starts with the first connection.
chroot "$root" systemctl -q disable ssh.service
chroot "$root" systemctl -q set-default multi-user.target

# What a machine that lives for one test does not need.
chroot "$root" systemctl -q mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-tmpfiles-clean.timer iperf3.service \
    systemd-networkd-wait-online.service systemd-update-utmp.service systemd-random-seed.service \
    systemd-pstore.service systemd-hibernate-resume.service sys-kernel-tracing.mount \
    ldconfig.service systemd-hwdb-update.service systemd-journal-catalog-update.service \
    systemd-update-done.service systemd-sysusers.service systemd-network-generator.service \
    systemd-networkd-persistent-storage.service systemd-sysext.socket systemd-hostnamed.socket \
    getty@tty1.service modprobe@drm.service modprobe@fuse.service modprobe@configfs.service \
    sys-kernel-config.mount dev-mqueue.mount run-lock.mount systemd-udev-load-credentials.service \
    systemd-tmpfiles-setup-dev-early.service systemd-tmpfiles-setup-dev.service \
    systemd-modules-load.service systemd-journal-flush.service systemd-remount-fs.service \
    systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-creds.socket systemd-initctl.socket

# Nor what looks for units that it does not have: a program each, at each boot.
mkdir -p "$root/etc/systemd/system-generators"
for name in debug gpt-auto hibernate-resume rc-local run ssh system-update sysv tpm2; do
    ln -sf /dev/null "$root/etc/systemd/system-generators/systemd-$name-generator"
done

# Nor what names devices that no machine here has, for each event.
mkdir -p "$root/etc/udev/rules.d"
for name in 55-dm 60-drm 60-fido-id 60-infiniband 60-persistent-alsa 60-persistent-storage-dm 60-persistent-storage-mtd \
    60-persistent-storage-tape 60-persistent-v4l 60-sensor 64-btrfs 70-camera 70-joystick 70-mouse 70-touchpad \
    70-uaccess 71-seat 73-seat-late 75-probe_mtd 78-sound-card 95-dm-notify; do
    ln -sf /dev/null "$root/etc/udev/rules.d/$name.rules"
done

# The emulator's name server: a daemon that learns it took as long at boot as the network did.
rm -f "$root/etc/resolv.conf"
echo "nameserver 10.0.2.3" > "$root/etc/resolv.conf"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt
