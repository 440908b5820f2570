/*
 * Runs a worker in the parent and tells, when it has ended, what can be seen of its guest from there.
 *
 * `stopwatch NAME MIB COMMAND...`: lines of the command's output go through at the end. Its line `bench-init` says that
 * the guest's init has begun: then the clock stops, and the worker's memory beyond the guest's MIB is read. Results
 * are lines as of the guest: `bench NAME_start TICKS 1`, `bench NAME_resident BYTES 1`, `bench NAME_taken BYTES 1` (what
 * the parent has less, guest's memory not counted), `bench NAME_rest BYTES 1` (of it what is not the worker's own: deposits
 * and the kernel's), `bench NAME_status STATUS 1`.
 *
 * Lines `bench-mark JOB` and `bench-stop JOB` frame a job of the guest: the hypervisor's exits between a second after the one
 * and a second after the other are `bench JOB_exits EXITS 1`. The guest waits longer than that before it begins.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

/* Memory of a process in bytes. */
struct resident {
    uint64_t guests; /* In the one big mapping that is its guest's memory. */
    uint64_t others; /* In all others. */
    uint64_t own;    /* Of the others, what no file is behind. */
};

static struct resident resident(pid_t pid, uint64_t guest)
{
    struct resident sum = { 0, 0, 0 };
    char path[64], line[512];
    unsigned long from, to, kib;
    int is_guest = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            is_guest = to - from >= guest / 2;
        else if (sscanf(line, "Rss: %lu kB", &kib) == 1)
            *(is_guest ? &sum.guests : &sum.others) += (uint64_t)kib << 10;
        else if (!is_guest && sscanf(line, "Anonymous: %lu kB", &kib) == 1)
            sum.own += (uint64_t)kib << 10;
    }
    if (file)
        fclose(file);
    return sum;
}

/* Bytes that nobody uses, those that each processor keeps at hand among them. */
static int64_t available(void)
{
    char line[256];
    int64_t pages, sum = 0;
    FILE *file = fopen("/proc/zoneinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, " pages free %ld", &pages) == 1 || sscanf(line, " count: %ld", &pages) == 1)
            sum += pages * 4096;
    if (file)
        fclose(file);
    return sum;
}

/* Exits of all guests so far. */
static uint64_t exits(void)
{
    char line[256];
    uint64_t sum = 0;
    FILE *counters = popen("zm hv counters", "r");
    while (counters && fgets(line, sizeof line, counters))
        sscanf(line, " exits.total %lu", &sum);
    if (counters)
        pclose(counters);
    return sum;
}

static struct job {
    char name[64];
    uint64_t exits;
} jobs[16];
static unsigned job_count;

/* Takes note of a job's beginning and end in a line. */
static void watch_jobs(const char *line)
{
    char name[64];
    if (sscanf(line, "bench-mark %63s", name) == 1 && job_count < sizeof jobs / sizeof *jobs) {
        sleep(1);
        strcpy(jobs[job_count].name, name);
        jobs[job_count].exits = exits();
    } else if (sscanf(line, "bench-stop %63s", name) == 1 && job_count < sizeof jobs / sizeof *jobs) {
        sleep(1);
        jobs[job_count].exits = exits() - jobs[job_count].exits;
        job_count++;
    }
}

static char output[1 << 16];

int main(int argc, char **argv)
{
    int ends[2], status = 0;
    uint64_t guest, ticks = 0;
    struct resident worker = { 0, 0, 0 };
    int64_t before, taken = 0;
    size_t used = 0, line = 0;
    if (argc < 4 || pipe(ends))
        return 2;
    guest = strtoull(argv[2], NULL, 10) << 20;
    /* What an earlier guest left is given back a little later than its worker ends. */
    sleep(3);
    before = available();
    uint64_t start = __rdtsc();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    close(ends[1]);
    for (;;) {
        ssize_t got = read(ends[0], output + used, sizeof output - 1 - used);
        uint64_t now = __rdtsc();
        if (got <= 0)
            break;
        used += got;
        for (char *end; (end = strchr(output + line, '\n')); line = end + 1 - output)
            watch_jobs(output + line);
        if (!ticks && strstr(output, "bench-init")) {
            ticks = now - start;
            worker = resident(pid, guest);
            taken = before - available() - (int64_t)worker.guests;
        }
    }
    waitpid(pid, &status, 0);
    fputs(output, stdout);
    for (unsigned i = 0; i < job_count; i++)
        printf("bench %s_exits %lu 1\n", jobs[i].name, jobs[i].exits);
    if (ticks) {
        printf("bench %s_start %llu 1\n", argv[1], (unsigned long long)ticks);
        printf("bench %s_resident %llu 1\n", argv[1], (unsigned long long)worker.others);
        printf("bench %s_taken %lld 1\n", argv[1], (long long)taken);
        printf("bench %s_rest %lld 1\n", argv[1], (long long)(taken - (int64_t)worker.own));
    }
    printf("bench %s_status %d 1\n", argv[1], WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    return 0;
}
