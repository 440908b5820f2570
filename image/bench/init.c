/*
 * The measured guest of `cargo xtask bench`: init of a machine without anything else.
 *
 * Under `-icount shift=0` the time-stamp counter counts instructions, so each figure is the same on every
 * host. Nothing is printed before everything is measured, because the serial port's interrupts would be
 * counted too; only `bench-init` says at the beginning that we are there. One result a line: `bench NAME TICKS OPERATIONS`.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static struct result {
    const char *name;
    uint64_t ticks, operations;
} results[16];
static unsigned count;
static volatile uint64_t sink;

/* Without a name it is not kept. */
static void record(const char *name, uint64_t ticks, uint64_t operations)
{
    if (name && count < sizeof results / sizeof *results)
        results[count++] = (struct result){ name, ticks, operations };
}

static void fail(const char *what)
{
    printf("bench-error %s: %s\n", what, strerror(errno));
    fflush(stdout);
    reboot(RB_POWER_OFF);
}

static void cpu_loop(uint64_t steps)
{
    uint64_t x = 88172645463325252u, start = __rdtsc();
    for (uint64_t i = 0; i < steps; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    sink = x;
    record("cpu_loop", __rdtsc() - start, steps);
}

/* A walk over 16 MiB in an order that neither repeats nor prefetches. */
static void memory_walk(uint64_t steps)
{
    size_t words = (16u << 20) / sizeof(uint64_t);
    uint64_t *memory = malloc(words * sizeof *memory), position = 0;
    if (!memory)
        fail("malloc");
    for (size_t i = 0; i < words; i++)
        memory[i] = i;
    uint64_t start = __rdtsc();
    for (uint64_t i = 0; i < steps; i++)
        position = (memory[position] * 6364136223846793005u + 1442695040888963407u) % words;
    sink = position;
    record("memory_walk", __rdtsc() - start, steps);
    free(memory);
}

static void system_call(uint64_t calls)
{
    uint64_t start = __rdtsc();
    for (uint64_t i = 0; i < calls; i++)
        sink = syscall(SYS_getppid);
    record("getppid", __rdtsc() - start, calls);
}

static void page_fault(size_t pages)
{
    char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    madvise(memory, pages * 4096, MADV_NOHUGEPAGE);
    uint64_t start = __rdtsc();
    for (size_t i = 0; i < pages; i++)
        ((volatile char *)memory)[i * 4096] = 1;
    record("page_fault", __rdtsc() - start, pages);
    munmap(memory, pages * 4096);
}

/*
 * Memory that a child touches for the first time is found for it by its parent: once, and here. What is left over the
 * kernel takes for itself at some time, and each 2 MiB of it cost half a million instructions then.
 */
static void first_touch(void)
{
    struct sysinfo info;
    if (sysinfo(&info))
        fail("sysinfo");
    size_t size = info.freeram * info.mem_unit, most = 480u << 20, left = 16u << 20;
    size = size > 2 * left ? size - left : size / 2;
    if (size > most)
        size = most;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    madvise(memory, size, MADV_NOHUGEPAGE);
    uint64_t start = __rdtsc();
    for (size_t at = 0; at < size; at += 4096)
        ((volatile char *)memory)[at] = 1;
    record("first_touch", __rdtsc() - start, size / 4096);
    munmap(memory, size);
}

static void fork_and(const char *name, int exec, unsigned times)
{
    uint64_t start = __rdtsc();
    for (unsigned i = 0; i < times; i++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            if (exec)
                execl("/init", "init", "exit", NULL);
            _exit(0);
        }
        if (waitpid(child, NULL, 0) != child)
            fail("waitpid");
    }
    record(name, __rdtsc() - start, times);
}

static void cpuid_exit(unsigned times)
{
    unsigned a, b, c, d;
    uint64_t start = __rdtsc();
    for (unsigned i = 0; i < times; i++)
        __cpuid(0, a, b, c, d);
    sink = a + b + c + d;
    record("cpuid", __rdtsc() - start, times);
}

static void sleep_lateness(unsigned times)
{
    struct timespec wish = { 0, 100000 };
    uint64_t start = __rdtsc();
    for (unsigned i = 0; i < times; i++)
        nanosleep(&wish, NULL);
    uint64_t ticks = __rdtsc() - start, asked = (uint64_t)times * 100000;
    record("sleep_100us_late", ticks > asked ? ticks - asked : 0, times);
}

int main(int argc, char **argv)
{
    uint64_t boot = __rdtsc();
    if (argc > 1 && !strcmp(argv[1], "exit"))
        return 0;
    record("boot_to_init", boot, 1);
    puts("bench-init");
    fflush(stdout);
    /* Debian's kernel tests its ciphers for seconds after the boot; and who waited for the line looks at us now. */
    sleep(10);
    if (argc > 1 && !strcmp(argv[1], "init-only"))
        reboot(RB_POWER_OFF);
    first_touch();
    cpu_loop(20000000);
    memory_walk(5000000);
    system_call(100000);
    page_fault(8192);
    /* What new processes take of memory that the kernel had not touched yet is not a matter of theirs. */
    fork_and(NULL, 0, 100);
    fork_and("fork_exit", 0, 300);
    fork_and("fork_exec", 1, 200);
    cpuid_exit(20000);
    sleep_lateness(500);
    for (unsigned i = 0; i < count; i++)
        printf("bench %s %llu %llu\n", results[i].name, (unsigned long long)results[i].ticks,
               (unsigned long long)results[i].operations);
    printf("bench-end\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
