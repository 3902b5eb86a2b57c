/* Tries what has got programs out of containers, and writes one line for each attempt: `contained NAME` or `ESCAPED NAME`.
 *
 *   escape REPORT CANARY PORT
 *
 * REPORT is a file of the tree; CANARY a path of the host's, to be neither read nor written; PORT one on which the host
 * listens, on loopback and as the abstract socket `@goldsmith-canary-PORT`. Built static: the tree may have no C library.
 *
 * Sources of the list: the default profiles and masked paths of Docker and Podman; "shocker" (open_by_handle_at, 2014);
 * CVE-2016-9962 and CVE-2024-21626 (descriptors that lead out), CVE-2019-5736 (the runtime's own program through /proc/1/exe),
 * CVE-2020-15257 (abstract sockets), CVE-2022-0185 (fsconfig in a user namespace), CVE-2022-0492 (release_agent),
 * CVE-2017-5226 and CVE-2023-28100 (TIOCSTI, TIOCLINUX), CVE-2022-2588 and -32250 (nf_tables, by a user namespace's
 * CAP_NET_ADMIN), CVE-2021-22555, io_uring's and userfaultfd's many, core_pattern, modprobe, binfmt_misc, uevent_helper. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static FILE *report;

static void say(int escaped, const char *name, const char *detail) {
    fprintf(report, "%s %s%s%s\n", escaped ? "ESCAPED" : "contained", name, *detail ? ": " : "", detail);
    fflush(report);
}

/* An attempt that must end with an error. */
#define REFUSED(name, call) do { errno = 0; long got = (long)(call); say(got >= 0, name, got >= 0 ? "" : strerror(errno)); } while (0)

static void opened(const char *path, int flags) {
    int file = open(path, flags | O_NONBLOCK | O_CLOEXEC);
    char name[300];
    snprintf(name, sizeof name, "open %s %s", path, flags == O_RDONLY ? "to read" : "to write");
    say(file >= 0, name, file >= 0 ? "" : strerror(errno));
    if (file >= 0) close(file);
}

/* A masked file is there and has nothing to say. */
static void silent(const char *path) {
    char byte, name[300];
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    long count = file < 0 ? 0 : read(file, &byte, 1);
    snprintf(name, sizeof name, "read %s", path);
    say(count > 0, name, "");
    if (file >= 0) close(file);
}

static void device(const char *name, mode_t kind, unsigned major, unsigned minor) {
    char path[100], what[120];
    snprintf(path, sizeof path, "/var/tmp/escape-%s", name);
    snprintf(what, sizeof what, "mknod %s", name);
    unlink(path);
    int made = mknod(path, kind | 0666, makedev(major, minor));
    int file = made < 0 ? -1 : open(path, O_RDWR | O_NONBLOCK);
    say(file >= 0, what, file >= 0 ? "and opened it" : made < 0 ? strerror(errno) : "made, but cannot be opened");
    unlink(path);
}

static void family(const char *name, int family, int type, int protocol) {
    int made = socket(family, type, protocol);
    say(made >= 0, name, made >= 0 ? "" : strerror(errno));
    if (made >= 0) close(made);
}

/* In a child, since some of these end the process. */
static void child(const char *name, long (*attempt)(void)) {
    pid_t pid = fork();
    if (pid == 0) { errno = 0; _exit(attempt() < 0 ? 0 : 1); }
    int status = 0;
    waitpid(pid, &status, 0);
    say(WIFEXITED(status) && WEXITSTATUS(status) == 1, name, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "");
}

static long handle(void) {
    struct { struct file_handle head; unsigned char rest[128]; } handle = { .head = { .handle_bytes = 8, .handle_type = 1 } };
    uint32_t root = 2;
    memcpy(handle.head.f_handle, &root, sizeof root);
    int mount = open("/", O_RDONLY | O_DIRECTORY);
    return open_by_handle_at(mount, &handle.head, O_RDONLY);
}

static long made(long flags) {
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(pid, 0, 0);
    return pid;
}

static long clone3_namespace(void) {
    uint64_t arguments[11] = { CLONE_NEWUSER, 0, 0, 0, SIGCHLD };
    long pid = syscall(435, arguments, sizeof arguments);
    if (pid == 0) _exit(0);
    return pid;
}

#ifdef __x86_64__
static long compat_mount(void) {
    /* mount(2) as a 32-bit program would call it: number 21. */
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(21L), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L) : "memory");
    return result < 0 ? result : 0;
}
static long compat_getpid(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
    return result;
}
#endif

static long new_link(void) {
    struct { struct nlmsghdr head; struct ifinfomsg info; struct rtattr name; char text[8]; struct rtattr link; struct rtattr kind; char dummy[8]; } ask = {
        .head = { .nlmsg_len = sizeof ask, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK },
        .name = { .rta_len = 4 + 8, .rta_type = IFLA_IFNAME }, .text = "escape0",
        .link = { .rta_len = 4 + 4 + 8, .rta_type = IFLA_LINKINFO }, .kind = { .rta_len = 4 + 6, .rta_type = IFLA_INFO_KIND }, .dummy = "dummy",
    };
    int link = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    char answer[4096];
    if (link < 0 || send(link, &ask, sizeof ask, 0) < 0 || recv(link, answer, sizeof answer, 0) < 0) return -1;
    return ((struct nlmsgerr *)(answer + sizeof(struct nlmsghdr)))->error;
}

static long reach(int port) {
    struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&where, sizeof where);
}

static long reach_abstract(int port) {
    struct sockaddr_un where = { .sun_family = AF_UNIX };
    int length = snprintf(where.sun_path + 1, sizeof where.sun_path - 1, "goldsmith-canary-%d", port);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&where, offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static long double_chroot(const char *canary) {
    int out = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("/var/tmp/escape-root", 0755);
    if (chroot("/var/tmp/escape-root") < 0 || fchdir(out) < 0) return -1;
    for (int step = 0; step < 64; step++) if (chdir("..") < 0) return -1;
    if (chroot(".") < 0) return -1;
    return open(canary, O_RDONLY);
}

static const char *canary_path;
static long after_chroot(void) { return double_chroot(canary_path); }

static long own_program(void) {
    /* What /proc/self/exe is when a script names it as its interpreter. */
    int file = open("/var/tmp/escape-script", O_CREAT | O_WRONLY | O_TRUNC, 0755);
    if (file < 0 || write(file, "#!/proc/self/exe\n", 17) < 0) return -1;
    close(file);
    return open("/proc/1/exe", O_WRONLY | O_CLOEXEC);
}

static void descriptors(const char *report_path) {
    /* None but the standard three, the report and this folder. */
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int number = atoi(entry->d_name);
        char target[4096] = "", path[64];
        if (number < 3) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", number);
        if (readlink(path, target, sizeof target - 1) < 0 || number == dirfd(folder) || !strcmp(target, report_path)) continue;
        say(1, "inherited descriptor", target);
    }
    say(0, "descriptors looked at", "");
}

int main(int count, char **words) {
    if (count < 4) return 2;
    report = fopen(words[1], "we");
    canary_path = words[2];
    int port = atoi(words[3]);
    if (!report) return 3;
    char text[4096];

    descriptors(words[1]);
    opened(canary_path, O_RDONLY);
    const char *ways[] = { "/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/self/cwd", "/..", "/../../../../../..", "/proc/self/fd/0/..", "/dev/..", "/proc/.." };
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) { snprintf(text, sizeof text, "%s%s", ways[way], canary_path); opened(text, O_RDONLY); opened(text, O_RDWR); }
    child("chroot twice", after_chroot);
    child("the program that started this", own_program);

    REFUSED("open_by_handle_at", handle());
    { int mount; struct file_handle head = { 0 }; errno = 0; name_to_handle_at(AT_FDCWD, "/", &head, &mount, 0); say(errno == EOVERFLOW, "name_to_handle_at", strerror(errno)); }

    const char *written[] = { "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/poweroff_cmd", "/proc/sys/kernel/hostname", "/proc/sys/kernel/panic",
        "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/suid_dumpable", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/0/smp_affinity", "/proc/bus/pci/00/00.0",
        "/proc/mtrr", "/proc/pressure/memory", "/proc/acpi/wakeup", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/kernel/security", "/sys/module/kernel/parameters" };
    for (unsigned at = 0; at < sizeof written / sizeof *written; at++) opened(written[at], O_WRONLY);
    const char *masked[] = { "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/interrupts", "/proc/cmdline", "/proc/scsi/scsi" };
    for (unsigned at = 0; at < sizeof masked / sizeof *masked; at++) silent(masked[at]);
    const char *absent[] = { "/dev/kmsg", "/dev/mem", "/dev/port", "/dev/kvm", "/dev/fuse", "/dev/loop-control", "/dev/net/tun", "/dev/vhost-vsock", "/dev/vda", "/dev/sda", "/dev/tty", "/dev/tty1", "/dev/console", "/dev/rtc0", "/dev/snapshot" };
    for (unsigned at = 0; at < sizeof absent / sizeof *absent; at++) opened(absent[at], O_RDWR);
    device("disk", S_IFBLK, 254, 0); device("sda", S_IFBLK, 8, 0); device("mem", S_IFCHR, 1, 1); device("kmsg", S_IFCHR, 1, 11); device("kvm", S_IFCHR, 10, 232); device("fuse", S_IFCHR, 10, 229); device("tun", S_IFCHR, 10, 200); device("loop", S_IFCHR, 10, 237);

    REFUSED("unshare user", unshare(CLONE_NEWUSER)); REFUSED("unshare mount", unshare(CLONE_NEWNS)); REFUSED("unshare net", unshare(CLONE_NEWNET)); REFUSED("unshare time", unshare(0x80));
    REFUSED("clone user", made(CLONE_NEWUSER)); REFUSED("clone user and mount", made(CLONE_NEWUSER | CLONE_NEWNS)); REFUSED("clone pid", made(CLONE_NEWPID)); REFUSED("clone net", made(CLONE_NEWNET)); REFUSED("clone cgroup", made(CLONE_NEWCGROUP)); REFUSED("clone ipc", made(CLONE_NEWIPC)); REFUSED("clone uts", made(CLONE_NEWUTS));
    REFUSED("clone3 user", clone3_namespace()); { int self = open("/proc/self/ns/mnt", O_RDONLY); REFUSED("setns", setns(self, 0)); }

    REFUSED("mount tmpfs", mount("t", "/var/tmp", "tmpfs", 0, 0)); REFUSED("mount bind", mount("/", "/var/tmp", 0, MS_BIND, 0)); REFUSED("mount proc", mount("p", "/var/tmp", "proc", 0, 0)); REFUSED("mount cgroup", mount("c", "/var/tmp", "cgroup", 0, "rdma")); REFUSED("mount sysfs", mount("s", "/var/tmp", "sysfs", 0, 0));
    REFUSED("remount /proc/sys", mount("", "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0)); REFUSED("unmount a mask", umount2("/proc/keys", MNT_DETACH)); REFUSED("unmount /proc", umount2("/proc", MNT_DETACH)); REFUSED("pivot_root", syscall(SYS_pivot_root, ".", "."));
    REFUSED("fsopen", syscall(430, "tmpfs", 0)); REFUSED("fspick", syscall(433, AT_FDCWD, "/", 0)); REFUSED("fsconfig", syscall(431, -1, 0, 0, 0, 0)); REFUSED("fsmount", syscall(432, -1, 0, 0)); REFUSED("open_tree", syscall(428, AT_FDCWD, "/", 1)); REFUSED("open_tree_attr", syscall(467, AT_FDCWD, "/", 1, 0, 0)); REFUSED("move_mount", syscall(429, AT_FDCWD, "/", AT_FDCWD, "/var/tmp", 0)); REFUSED("mount_setattr", syscall(442, AT_FDCWD, "/", 0, (char[32]){ 0 }, 32)); REFUSED("statmount", syscall(457, (char[24]){ 0 }, text, 512, 0)); REFUSED("listmount", syscall(458, (char[24]){ 0 }, text, 10, 0));

    REFUSED("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0)); REFUSED("ptrace traceme", ptrace(PTRACE_TRACEME, 0, 0, 0)); REFUSED("process_vm_readv", syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0)); REFUSED("process_vm_writev", syscall(SYS_process_vm_writev, 1, 0, 0, 0, 0, 0)); REFUSED("kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0)); REFUSED("pidfd_getfd", syscall(438, syscall(434, getpid(), 0), 1, 0)); REFUSED("process_madvise", syscall(440, -1, 0, 0, 0, 0));
    REFUSED("keyctl", syscall(SYS_keyctl, 0, -3, 0)); REFUSED("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3)); REFUSED("request_key", syscall(SYS_request_key, "user", "x", 0, -3));
    REFUSED("bpf", syscall(SYS_bpf, 0, (char[128]){ 0 }, 72)); REFUSED("perf_event_open", syscall(SYS_perf_event_open, (char[128]){ 0 }, 0, -1, -1, 0)); REFUSED("userfaultfd", syscall(SYS_userfaultfd, 1)); REFUSED("io_uring_setup", syscall(425, 4, (char[120]){ 0 })); REFUSED("io_uring_enter", syscall(426, 0, 0, 0, 0, 0)); REFUSED("io_uring_register", syscall(427, -1, 0, 0, 0)); REFUSED("fanotify_init", syscall(SYS_fanotify_init, 0, 0)); REFUSED("memfd_secret", syscall(447, 0));
    REFUSED("init_module", syscall(SYS_init_module, "", 0, "")); REFUSED("finit_module", syscall(SYS_finit_module, 0, "", 0)); REFUSED("delete_module", syscall(SYS_delete_module, "x", 0)); REFUSED("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0)); REFUSED("reboot", syscall(SYS_reboot, 0xfee1dead, 0x28121969, 0x89abcdef, 0)); REFUSED("swapon", syscall(SYS_swapon, "/var/tmp/x", 0)); REFUSED("acct", syscall(SYS_acct, "/var/tmp/x")); REFUSED("quotactl", syscall(SYS_quotactl, 0x800002 << 8, 0, 0, 0)); REFUSED("syslog", syscall(SYS_syslog, 3, text, 100)); REFUSED("vhangup", syscall(SYS_vhangup));
    REFUSED("settimeofday", settimeofday(&(struct timeval){ 1, 0 }, 0)); REFUSED("clock_settime", clock_settime(CLOCK_REALTIME, &(struct timespec){ 1, 0 })); REFUSED("adjtimex", syscall(SYS_adjtimex, (char[256]){ 1 })); REFUSED("sethostname", sethostname("x", 1)); REFUSED("setdomainname", setdomainname("x", 1)); REFUSED("move_pages", syscall(SYS_move_pages, 1, 0, 0, 0, 0, 0)); REFUSED("mbind", syscall(SYS_mbind, 0, 0, 0, 0, 0, 0)); REFUSED("setpriority", syscall(SYS_setpriority, 0, 0, -20)); REFUSED("real-time", syscall(SYS_sched_setscheduler, 0, 1, (int[]){ 1 })); REFUSED("personality", syscall(SYS_personality, 0x0040000)); REFUSED("a call that no kernel has", syscall(2000));
#ifdef __x86_64__
    REFUSED("iopl", syscall(SYS_iopl, 3)); REFUSED("ioperm", syscall(SYS_ioperm, 0x80, 1, 1)); REFUSED("modify_ldt", syscall(SYS_modify_ldt, 0, text, 16)); REFUSED("uselib", syscall(SYS_uselib, "/bin/true")); REFUSED("kexec_file_load", syscall(SYS_kexec_file_load, 0, 0, 0, "", 0)); REFUSED("x32 getpid", syscall(0x40000000 | 39)); REFUSED("x32 mount", syscall(0x40000000 | 165, "t", "/var/tmp", "tmpfs", 0, 0)); REFUSED("x32 execve", syscall(0x40000000 | 520, "/bin/true", 0, 0));
    child("a 32-bit program's mount", compat_mount); child("a 32-bit program's getpid", compat_getpid);
#endif
    REFUSED("typing into a terminal", ioctl(0, TIOCSTI, "x")); { int ends = open("/dev/ptmx", O_RDWR | O_NOCTTY); if (ends >= 0) { REFUSED("typing into one's own", ioctl(ends, TIOCSTI, "x")); REFUSED("TIOCLINUX", ioctl(ends, TIOCLINUX, "\3")); REFUSED("TIOCSTI with high bits", syscall(SYS_ioctl, ends, 0x100000000UL | TIOCSTI, "x")); close(ends); } }

    family("AF_VSOCK", 40, SOCK_STREAM, 0); family("AF_PACKET", AF_PACKET, SOCK_RAW, 0); family("AF_PACKET dgram", AF_PACKET, SOCK_DGRAM, 0); family("AF_ALG", 38, SOCK_SEQPACKET, 0); family("AF_KEY", 15, SOCK_RAW, 2); family("AF_BLUETOOTH", 31, SOCK_RAW, 1); family("AF_CAN", 29, SOCK_RAW, 1); family("AF_TIPC", 30, SOCK_STREAM, 0); family("AF_RDS", 21, SOCK_SEQPACKET, 0); family("AF_XDP", 44, SOCK_RAW, 0); family("AF_NFC", 39, SOCK_RAW, 0); family("AF_SMC", 43, SOCK_STREAM, 0); family("raw IP", AF_INET, SOCK_RAW, 1);
    REFUSED("the host's loopback", reach(port)); REFUSED("the host's abstract socket", reach_abstract(port)); REFUSED("a new interface", new_link());

    for (int bit = 0; bit < 64; bit++) {
        /* chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, audit_write, setfcap */
        static const int kept[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31 };
        int allowed = 0;
        for (unsigned at = 0; at < sizeof kept / sizeof *kept; at++) allowed |= kept[at] == bit;
        if (!allowed && prctl(PR_CAPBSET_READ, bit, 0, 0, 0) == 1) { snprintf(text, sizeof text, "capability %d", bit); say(1, text, "in the bounding set"); }
    }
    { char map[200] = ""; int file = open("/proc/self/uid_map", O_RDONLY); unsigned inside = 1, outside = 0; if (file < 0 || read(file, map, 199) < 0 || sscanf(map, "%u %u", &inside, &outside) != 2) outside = 0; say(inside != 0 || outside == 0, "root is root outside", map); }
    /* The owner of files on disk is never root's, or the builder's. */
    { int file = open("/var/tmp/escape-setuid", O_CREAT | O_WRONLY, 0755); fchmod(file, 06755); close(file); }

    /* Somebody to be left behind. */
    if (fork() == 0) { setsid(); signal(SIGHUP, SIG_IGN); signal(SIGTERM, SIG_IGN); if (fork() == 0) { prctl(PR_SET_NAME, "gs-left-behind"); for (;;) pause(); } _exit(0); }
    fprintf(report, "all tried\n");
    fclose(report);
    return 0;
}
