# The ways in, and of the other processors.
#
#   bzImage, 64-bit protocol   image_start + 0x200, long mode, RSI = boot_params
#   bzImage, 32-bit protocol   image_start,         protected mode, ESI = boot_params
#   PVH (ELF note)             entry_pvh,           protected mode, EBX = start_info
#
# All end in guest_entry(kind, address), on the kernel's own page tables.

.section .boot.header, "awx"
.code32
.global entry32
entry32:
    cli
    cld
    movl %esi, %ebp
    xorl %ebx, %ebx                 # kind 0: boot_params
    jmp from_protected_mode
entry_pvh:
    cli
    cld
    movl %ebx, %ebp
    movl $1, %ebx                   # kind 1: PVH
from_protected_mode:
    lgdt boot_gdt_pointer
    movl %cr4, %eax
    orl $(1 << 5), %eax             # physical address extension
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $(1 << 8), %eax             # long mode
    wrmsr
    movl $0x80010011, %eax          # paging, write protection, extension type, protection
    movl %eax, %cr0
    ljmp $0x08, $start64

.balign 8
boot_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
boot_gdt_pointer:
    .short 31
    .long boot_gdt

.org 0x200
.code64
entry64:
    cli
    cld
    movl %esi, %ebp
    xorl %ebx, %ebx
    # A loader may have put the image elsewhere: it then moves to where it was linked.
    leaq entry32(%rip), %rsi
    movq $image_start, %rdi
    cmpq %rsi, %rdi
    je 1f
    movq $load_end, %rcx
    subq %rdi, %rcx
    rep movsb
1:  movabsq $start64, %rax
    jmpq *%rax

start64:
    movl %ebp, %ebp
    # Memory behind the image is anything at all.
    movq $load_end, %rdi
    movq $image_end, %rcx
    subq %rdi, %rcx
    shrq $3, %rcx
    xorl %eax, %eax
    rep stosq
    movq $boot_pml4, %rax
    movq %rax, %cr3
    movq $boot_stack_end, %rsp
    lgdt boot_gdt_pointer64(%rip)
    movl $0x10, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    pushq $0x08
    leaq 2f(%rip), %rax
    pushq %rax
    lretq
2:  movl %ebx, %edi
    movq %rbp, %rsi
    xorl %ebp, %ebp
    call {guest_entry}
    ud2

.balign 8
boot_gdt_pointer64:
    .short 31
    .quad boot_gdt

# Identity for the first 4 GiB, in pages of 2 MiB.
.section .data.boot_tables, "aw"
.balign 4096
.global boot_pml4
boot_pml4:
    .quad boot_pdpt + 7
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 0x0003, boot_pd + 0x1003, boot_pd + 0x2003, boot_pd + 0x3003
    .fill 508, 8, 0
boot_pd:
.set frame, 0
.rept 2048
    .quad frame * 0x200000 + 0x83
    .set frame, frame + 1
.endr

.section .bss.boot_stack, "aw", @nobits
.balign 4096
.skip 65536
.global boot_stack_end
boot_stack_end:

# XEN_ELFNOTE_PHYS32_ENTRY: lets an ELF loader that knows PVH start the kernel without packing it.
.section .note.Xen, "a", @note
.balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad entry_pvh

# --- the other processors ------------------------------------------------------------------------------------------
# Copied to the page at TRAMPOLINE, where a startup IPI starts it with CS = page and IP = 0. The last words are filled
# in by the starter.
.section .text.trampoline, "ax"
.set TRAMPOLINE, 0x8000
.code16
.global ap_trampoline
ap_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl ap_gdt_pointer - ap_trampoline
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x18, $(TRAMPOLINE + ap_protected - ap_trampoline)
.code32
ap_protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr4, %eax
    orl $(1 << 5), %eax
    movl %eax, %cr4
    movl TRAMPOLINE + ap_root - ap_trampoline, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $(1 << 8), %eax
    wrmsr
    movl $0x80010011, %eax
    movl %eax, %cr0
    ljmp $0x08, $(TRAMPOLINE + ap_long - ap_trampoline)
.code64
ap_long:
    movq TRAMPOLINE + ap_stack - ap_trampoline, %rsp
    movq TRAMPOLINE + ap_index - ap_trampoline, %rdi
    movq TRAMPOLINE + ap_entry - ap_trampoline, %rax
    xorl %ebp, %ebp
    call *%rax
    ud2
.balign 8
ap_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
ap_gdt_pointer:
    .short 31
    .long TRAMPOLINE + ap_gdt - ap_trampoline
.balign 8
.global ap_words
ap_words:
ap_root:  .quad 0
ap_stack: .quad 0
ap_index: .quad 0
ap_entry: .quad 0
.global ap_trampoline_end
ap_trampoline_end:
.code64
.text
