# What a guest does. The serial port is slow: every line here is one that a test reads.

check() {
    echo "release $(uname -r)"
    echo "cpus $(nproc)"
    cd /sys/devices/system
    echo "clocks $(cat clocksource/clocksource0/available_clocksource)"
    echo "clock $(cat clocksource/clocksource0/current_clocksource)"
    for device in clockevents/clockevent[0-9]*/current_device; do echo "event $(cat $device)"; done
    grep HVS: /proc/interrupts
    ls -d /sys/bus/acpi/devices/VMBUS*
    dmesg | grep -E 'Hypervisor detected|Hyper-V: Using'
    dmesg -r | grep '^<[0-3]>'
}

# Where the kernel is: its first byte's virtual address, its code's physical one.
whereabouts() {
    echo "release $(uname -r)"
    grep ' _text$' /proc/kallsyms | while read -r address rest; do echo "text $address"; done
    grep 'Kernel code' /proc/iomem | while IFS=- read -r address rest; do echo "code ${address# *}"; done
}

work() {
    load clock 1200 &
    load work 45
    kill $!
}

clock() {
    load clock 1200
}

spin() {
    echo "spin"
    load spin
}

# For as long as it lives, checking all results.
toil() {
    echo "toil"
    while :; do load work 3; done
}

idle() {
    echo "idle"
    while :; do sleep 1000; done
}

nothing() {
    echo "user space"
}

restart() {
    echo "restarting"
    reboot -f
}

panic() {
    echo "panicking"
    echo c > /proc/sysrq-trigger
}

for word in $(cat /proc/cmdline); do
    case $word in do=*) ${word#do=} ;; esac
done
