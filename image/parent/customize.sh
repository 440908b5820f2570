# Runs once when the parent OS is made, with its root as $1. Files that are ours lie in overlay/.
set -eu
root=$1

# A development image: root logs in on the serial console without a password; over ssh only with a key.
chroot "$root" passwd -q -d root
chroot "$root" systemctl -q enable systemd-networkd.service systemd-resolved.service ssh.service
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
    getty@tty1.service modprobe@drm.service modprobe@fuse.service

# The network stub's address, whether or not resolved was running when the package was set up.
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt
