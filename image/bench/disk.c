/*
 * The measured guest of the disk figures: init of a machine that has nothing but modules in `/modules` and a disk.
 *
 * Does what fio does with `ioengine=libaio`, `direct=1`, `norandommap` and its other defaults: one `io_submit` for each
 * I/O, one `io_getevents` for each completion, one clock reading before and one behind; latency is from before the
 * submission to behind the completion. Under `-icount` a tick of the time-stamp counter is an instruction.
 *
 * The kernel's command line names the disk (`disk=sda`); `times=5` makes each job so much longer, `only=NAME` leaves out all
 * others. For each job, lines `bench NAME TICKS OPERATIONS`: mean latency at queue depth 1, ticks per I/O
 * otherwise; `NAME_count`, I/Os; `NAME_interrupts` and `NAME_signals` per I/O, as the guest's VMBus counts them. `bench-mark NAME` and
 * `bench-stop NAME` frame a job for who looks from outside, with time to look before and behind; `none` is a job without work.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { DEPTH_MAX = 64, BUFFER = 128 << 10, MODULE_IS_COMPRESSED = 4 };

struct job {
    const char *name;
    int write, random;
    size_t block;
    unsigned depth, count;
};

static struct job jobs[] = {
    { "disk_read_qd1", 0, 1, 4096, 1, 4096 },
    { "disk_read_qd32", 0, 1, 4096, 32, 16384 },
    { "disk_write_qd32", 1, 1, 4096, 32, 16384 },
    { "disk_read_128k", 0, 0, BUFFER, 4, 1024 },
    { "disk_write_128k", 1, 0, BUFFER, 4, 1024 },
};

/* What a job counted. */
struct result {
    uint64_t ticks, interrupts, signals;
};

static int disk;
static uint64_t size;
static char *buffers[DEPTH_MAX];

static void fail(const char *what)
{
    printf("bench-error %s: %s\n", what, strerror(errno));
    fflush(stdout);
    reboot(RB_POWER_OFF);
}

static void load_module(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    const char *parameters = strstr(path, "brd") ? "rd_nr=1 rd_size=262144" : "";
    int flags = strstr(path, ".xz") ? MODULE_IS_COMPRESSED : 0;
    if (file < 0 || syscall(SYS_finit_module, file, parameters, flags))
        fail(path);
    close(file);
}

static void set_up(const char *name)
{
    struct dirent **names;
    char path[300];
    mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/sys", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    int count = scandir("/modules", &names, NULL, alphasort);
    for (int i = 0; i < count; i++)
        if (names[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
            load_module(path);
        }
    snprintf(path, sizeof path, "/sys/block/%s/queue/scheduler", name);
    /* The controller's disks are looked for in the background. */
    for (int wait = 0; wait < 100 && access(path, F_OK); wait++)
        usleep(100000);
    int scheduler = open(path, O_WRONLY);
    if (scheduler >= 0 && write(scheduler, "none", 4) != 4)
        perror("scheduler");
    close(scheduler);
    sleep(1);
    snprintf(path, sizeof path, "/dev/%s", name);
    disk = open(path, O_RDWR | O_DIRECT);
    if (disk < 0)
        fail(path);
    size = lseek(disk, 0, SEEK_END);
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        buffers[i] = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (buffers[i] == MAP_FAILED)
            fail("mmap");
        madvise(buffers[i], BUFFER, MADV_NOHUGEPAGE);
    }
    /* In this order no two pages of a buffer are neighbours in memory: luck would be worth a quarter of the figures. */
    for (size_t at = 0; at < BUFFER; at += 4096)
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            memset(buffers[i] + at, 'a' + i % 26, 4096);
}

/* A RAM disk finds its memory when it is first written. */
static void fill(void)
{
    for (uint64_t at = 0; at + BUFFER <= size; at += BUFFER)
        if (pwrite(disk, buffers[0], BUFFER, at) != BUFFER)
            fail("filling the disk");
}

/* Sum of a file of all channels of all VMBus devices. */
static uint64_t channels(const char *file)
{
    char pattern[100];
    glob_t found;
    uint64_t sum = 0, value;
    snprintf(pattern, sizeof pattern, "/sys/bus/vmbus/devices/*/channels/*/%s", file);
    if (glob(pattern, 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *in = fopen(found.gl_pathv[i], "r");
        if (in && fscanf(in, "%lu", &value) == 1)
            sum += value;
        if (in)
            fclose(in);
    }
    globfree(&found);
    return sum;
}

static uint64_t next_offset(const struct job *job, unsigned number)
{
    static uint64_t x = 88172645463325252u;
    uint64_t blocks = size / job->block;
    if (!job->random)
        return number % blocks * job->block;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x % blocks * job->block;
}

static volatile uint64_t clock_now;

static void read_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_now = now.tv_sec * 1000000000ull + now.tv_nsec;
}

static struct result run(const struct job *job)
{
    aio_context_t context = 0;
    struct iocb blocks[DEPTH_MAX], *one;
    struct io_event event;
    unsigned busy = 0, started = 0, finished = 0;
    unsigned free_slots[DEPTH_MAX], free_count = 0;
    uint64_t began[DEPTH_MAX], latency = 0;
    struct result result = { 0, channels("interrupts"), channels("events") };
    if (syscall(SYS_io_setup, DEPTH_MAX, &context))
        fail("io_setup");
    while (free_count < job->depth)
        free_slots[free_count] = free_count, free_count++;
    uint64_t start = __rdtsc();
    while (finished < job->count) {
        while (busy < job->depth && started < job->count) {
            unsigned slot = free_slots[--free_count];
            one = &blocks[slot];
            *one = (struct iocb){
                .aio_data = slot,
                .aio_lio_opcode = job->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                .aio_fildes = disk,
                .aio_buf = (uintptr_t)buffers[slot],
                .aio_nbytes = job->block,
                .aio_offset = next_offset(job, started),
            };
            read_clock();
            began[slot] = __rdtsc();
            if (syscall(SYS_io_submit, context, 1, &one) != 1)
                fail("io_submit");
            busy++, started++;
        }
        if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
            fail("io_getevents");
        read_clock();
        latency += __rdtsc() - began[event.data];
        if (event.res != (long long)job->block)
            errno = event.res < 0 ? -event.res : EIO, fail(job->name);
        free_slots[free_count++] = event.data;
        busy--, finished++;
    }
    result.ticks = job->depth == 1 ? latency : __rdtsc() - start;
    result.interrupts = channels("interrupts") - result.interrupts;
    result.signals = channels("events") - result.signals;
    syscall(SYS_io_destroy, context);
    return result;
}

/* The lines are written by the time the job begins, and outsiders have looked. */
static void mark(const char *what, const char *name)
{
    printf("bench-%s %s\n", what, name);
    fflush(stdout);
    sleep(3);
}

static void show(const char *name, const char *what, uint64_t value, unsigned count)
{
    printf("bench %s%s %llu %u\n", name, what, (unsigned long long)value, count);
}

int main(void)
{
    const char *name = getenv("disk"), *times = getenv("times"), *only = getenv("only");
    enum { JOBS = sizeof jobs / sizeof *jobs };
    struct result results[JOBS];
    set_up(name ? name : "sda");
    fill();
    sleep(5);
    mark("mark", "none");
    mark("stop", "none");
    for (unsigned i = 0; i < JOBS; i++) {
        if (only && strcmp(only, jobs[i].name))
            continue;
        jobs[i].count *= times ? atoi(times) : 1;
        mark("mark", jobs[i].name);
        results[i] = run(&jobs[i]);
        mark("stop", jobs[i].name);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        if (only && strcmp(only, jobs[i].name))
            continue;
        show(jobs[i].name, "", results[i].ticks, jobs[i].count);
        show(jobs[i].name, "_count", jobs[i].count, 1);
        show(jobs[i].name, "_interrupts", results[i].interrupts, jobs[i].count);
        show(jobs[i].name, "_signals", results[i].signals, jobs[i].count);
    }
    printf("bench-end\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
