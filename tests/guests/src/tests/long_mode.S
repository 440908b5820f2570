# Out of long mode and back, by way of states in which EFER.LME is set without CR4.PAE (see long_mode.rs).
#
# u32 *leave_and_return(u32 results[4]), interrupts closed. Without paging everything is in registers.

.section .bss.long_mode, "aw", @nobits
.balign 16
old_tables: .skip 16
old_stack:  .skip 8
results_at: .skip 8

.section .rodata.long_mode, "a"
.balign 16
own_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF        # 8: 32-bit code
    .quad 0x00AF9B000000FFFF        # 16: 64-bit code
own_tables:
    .word own_tables - own_gdt - 1
    .quad own_gdt

.section .text.long_mode, "ax"
.code64
.global leave_and_return
leave_and_return:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %cs, %eax
    push %rax
    mov %rdi, results_at
    mov %rsp, old_stack
    sgdt old_tables
    lgdt own_tables
    push $8
    push $1f
    lretq

.code32
1:  mov %cr4, %ebp
    mov %cr0, %eax
    and $0x7FFFFFFF, %eax
    mov %eax, %cr0
    # LME is still set, and loses PAE.
    mov %ebp, %eax
    and $~0x20, %eax
    mov %eax, %cr4
    xor %eax, %eax
    cpuid
    mov $0xC0000080, %ecx
    rdmsr
    mov %eax, %esi
    # LME is set before PAE.
    and $~0x100, %eax
    wrmsr
    xor %eax, %eax
    cpuid
    mov $0xC0000080, %ecx
    rdmsr
    mov %eax, %edi
    or $0x100, %eax
    wrmsr
    # Now a write of CR0 that leaves paging off, and back: cache disable.
    mov %cr0, %eax
    xor $0x40000000, %eax
    mov %eax, %cr0
    xor $0x40000000, %eax
    mov %eax, %cr0
    xor %eax, %eax
    cpuid
    mov %ebp, %cr4
    mov $0xC0000080, %ecx
    rdmsr
    mov %eax, %ebx
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    rdmsr
    ljmp $16, $2f

.code64
2:  mov results_at, %rcx
    mov %esi, (%rcx)
    mov %edi, 4(%rcx)
    mov %ebx, 8(%rcx)
    mov %eax, 12(%rcx)
    lgdt old_tables
    mov old_stack, %rsp
    push $3f
    lretq
3:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
