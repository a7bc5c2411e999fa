#include "apart.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"

enum { MOST = 1 << 15, PAGE = 4096, DEEP = 8 };

typedef struct range {
    char *at, *copy; /* copy: of mirrored memory that can be written to */
    size_t bytes;
    int count; /* times it was told of */
} range;

static range own[MOST], mirrored[MOST];
static size_t own_count, mirrored_count;
static int depth, left = -1;

static void protect(const range *r, int how) {
    if (mprotect(r->at, r->bytes, how)) abort();
}

static void exchange(const range *r) {
    static char part[1 << 16];
    for (size_t at = 0, n; r->copy && at < r->bytes; at += n) {
        n = r->bytes - at < sizeof part ? r->bytes - at : sizeof part;
        memcpy(part, r->at + at, n);
        memcpy(r->at + at, r->copy + at, n);
        memcpy(r->copy + at, part, n);
    }
}

static void enter(void) {
    if (depth++) return;
    for (size_t i = 0; i < own_count; i++) protect(&own[i], PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < mirrored_count; i++) exchange(&mirrored[i]);
}

static void leave(void) {
    if (--depth) return;
    for (size_t i = 0; i < mirrored_count; i++) exchange(&mirrored[i]);
    for (size_t i = 0; i < own_count; i++) protect(&own[i], PROT_NONE);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------*/

static void *take(const ar_runtime *rt, size_t bytes) {
    size_t whole = (bytes + PAGE) / PAGE * PAGE;
    (void)rt;
    char *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || own_count == MOST) return NULL;
    memset(at, 0xff, whole);
    own[own_count++] = (range){.at = at, .bytes = whole};
    protect(&own[own_count - 1], PROT_NONE);
    return at;
}

static void give(const ar_runtime *rt, void *memory) {
    (void)rt;
    for (size_t i = 0; i < own_count; i++) {
        if (own[i].at != memory) continue;
        munmap(own[i].at, own[i].bytes);
        own[i] = own[--own_count];
        return;
    }
    assert(!memory);
}

/* The own memory that holds all of it. */
static const range *own_at(const void *at, size_t bytes) {
    for (size_t i = 0; i < own_count; i++)
        if ((const char *)at >= own[i].at && (const char *)at + bytes <= own[i].at + own[i].bytes) return &own[i];
    fprintf(stderr, "apart: %p is no own memory\n", at);
    abort();
}

static void write_own(const ar_runtime *rt, void *to, const void *host, size_t bytes) {
    const range *r = own_at(to, bytes);
    (void)rt;
    protect(r, PROT_READ | PROT_WRITE);
    memcpy(to, host, bytes);
    protect(r, PROT_NONE);
}

static void read_own(const ar_runtime *rt, void *host, const void *from, size_t bytes) {
    const range *r = own_at(from, bytes);
    (void)rt;
    protect(r, PROT_READ);
    memcpy(host, from, bytes);
    protect(r, PROT_NONE);
}

/* Whether the host may write there, found by writing what is there already. */
static bool is_writable(char *at) {
    int pipes[2];
    if (pipe(pipes)) abort();
    bool ok = write(pipes[1], at, 1) == 1 && read(pipes[0], at, 1) == 1;
    close(pipes[0]);
    close(pipes[1]);
    return ok;
}

static range *mirror_of(const void *host, size_t bytes) {
    for (size_t i = 0; i < mirrored_count; i++)
        if ((const char *)host >= mirrored[i].at && (const char *)host + bytes <= mirrored[i].at + mirrored[i].bytes) return &mirrored[i];
    return NULL;
}

static bool mirror(const ar_runtime *rt, const void *host, size_t bytes) {
    range *r = mirror_of(host, bytes);
    (void)rt;
    if (r) {
        assert(r->at == host && r->bytes == bytes);
        r->count++;
        return true;
    }
    char *at = (char *)(uintptr_t)host;
    assert(mirrored_count < MOST);
    for (size_t i = 0; i < mirrored_count; i++) assert(at + bytes <= mirrored[i].at || at >= mirrored[i].at + mirrored[i].bytes);
    mirrored[mirrored_count] = (range){.at = at, .bytes = bytes, .count = 1};
    if (is_writable(at)) mirrored[mirrored_count].copy = memcpy(malloc(bytes), at, bytes);
    mirrored_count++;
    return true;
}

static void unmirror(const ar_runtime *rt, const void *host) {
    range *r = host ? mirror_of(host, 1) : NULL;
    (void)rt;
    if (!host) return;
    assert(r && r->at == host);
    if (--r->count) return;
    free(r->copy);
    *r = mirrored[--mirrored_count];
}

static range *mirror_for(const void *host, size_t bytes) {
    range *r = mirror_of(host, bytes);
    if (r) return r;
    fprintf(stderr, "apart: %p is not mirrored\n", host);
    abort();
}

static void put(const ar_runtime *rt, const void *host, size_t bytes) {
    const range *r = mirror_for(host, bytes);
    (void)rt;
    if (r->copy) memcpy(r->copy + ((const char *)host - r->at), host, bytes);
}

static void get(const ar_runtime *rt, void *host, size_t bytes) {
    const range *r = mirror_for(host, bytes);
    (void)rt;
    if (r->copy) memcpy(host, r->copy + ((const char *)host - r->at), bytes);
}

static ar_status settle(const ar_runtime *rt, ar_error *err) {
    (void)rt;
    if (left > 0) left--;
    return left == 0 ? ar__fail(err, AR_ERR_DEVICE, "device apart: failed as asked") : AR_OK;
}

static const ar_memory memory = {.take = take,
                                 .give = give,
                                 .write = write_own,
                                 .read = read_own,
                                 .mirror = mirror,
                                 .unmirror = unmirror,
                                 .put = put,
                                 .get = get,
                                 .settle = settle};

size_t apart_held(void) { return own_count + mirrored_count; }
void apart_fail_after(int calls) { left = calls < 0 ? -1 : calls + 1; }

/* ---- operators -------------------------------------------------------------------------------------------------------*/

#if defined(__x86_64__)

#define APART_NUMBER(op) APART_##op,
enum { AR_EACH_OP(APART_NUMBER) APART_COUNT };

/* The operators, and where calls of them return to. */
void (*apart_op[APART_COUNT])(void);
static void *back[DEEP];

void (*apart_before(size_t number, void *from))(void);
void *apart_after(void);
void (*apart_before(size_t number, void *from))(void) {
    assert(depth < DEEP);
    back[depth] = from;
    enter();
    return apart_op[number];
}

void *apart_after(void) {
    leave();
    return back[depth];
}

/* Each entry loads its number; what is common keeps the arguments in registers, and those on the stack where they are: the address of
 * return is taken off the stack, and the operator called in its place. */
__asm__(".text\n"
        ".p2align 4\n"
        "apart_entries:\n"
        ".set number, 0\n"
        ".rept 128\n"
        ".p2align 4\n"
        "movl $number, %eax\n"
        "jmp apart_common\n"
        ".set number, number + 1\n"
        ".endr\n"
        "apart_common:\n"
        "subq $0xb8, %rsp\n"
        "movq %rdi, 0(%rsp)\n"
        "movq %rsi, 8(%rsp)\n"
        "movq %rdx, 16(%rsp)\n"
        "movq %rcx, 24(%rsp)\n"
        "movq %r8, 32(%rsp)\n"
        "movq %r9, 40(%rsp)\n"
        "movups %xmm0, 48(%rsp)\n"
        "movups %xmm1, 64(%rsp)\n"
        "movups %xmm2, 80(%rsp)\n"
        "movups %xmm3, 96(%rsp)\n"
        "movups %xmm4, 112(%rsp)\n"
        "movups %xmm5, 128(%rsp)\n"
        "movups %xmm6, 144(%rsp)\n"
        "movups %xmm7, 160(%rsp)\n"
        "movl %eax, %edi\n"
        "movq 0xb8(%rsp), %rsi\n"
        "call apart_before\n"
        "movq %rax, %r11\n"
        "movq 0(%rsp), %rdi\n"
        "movq 8(%rsp), %rsi\n"
        "movq 16(%rsp), %rdx\n"
        "movq 24(%rsp), %rcx\n"
        "movq 32(%rsp), %r8\n"
        "movq 40(%rsp), %r9\n"
        "movups 48(%rsp), %xmm0\n"
        "movups 64(%rsp), %xmm1\n"
        "movups 80(%rsp), %xmm2\n"
        "movups 96(%rsp), %xmm3\n"
        "movups 112(%rsp), %xmm4\n"
        "movups 128(%rsp), %xmm5\n"
        "movups 144(%rsp), %xmm6\n"
        "movups 160(%rsp), %xmm7\n"
        "addq $0xc0, %rsp\n"
        "call *%r11\n"
        "subq $32, %rsp\n"
        "movq %rax, 0(%rsp)\n"
        "movups %xmm0, 16(%rsp)\n"
        "call apart_after\n"
        "movq %rax, %r11\n"
        "movq 0(%rsp), %rax\n"
        "movups 16(%rsp), %xmm0\n"
        "addq $32, %rsp\n"
        "pushq %r11\n"
        "ret\n");

extern char apart_entries[];

const ar_ops *apart_ops(void) {
    static ar_ops table;
    _Static_assert(APART_COUNT <= 128, "as many entries as operators");
    table = ar__ops_cpu;
    table.name = "apart";
    table.memory = &memory;
#define APART_FILL(op)                                                                                                                     \
    apart_op[APART_##op] = (void (*)(void))ar__ops_cpu.op;                                                                                 \
    table.op = (ar_##op##_fn *)(uintptr_t)(apart_entries + 16 * APART_##op);
    AR_EACH_OP(APART_FILL)
    return &table;
}

#else

const ar_ops *apart_ops(void) {
    (void)memory;
    return NULL;
}

#endif
