# Entry from the boot loader, and of the other LPs.
#
# The loader jumps here in 32-bit protected mode without paging (Multiboot 1, 3.2; Multiboot 2, 3.3). The code runs at
# its physical address until the jump to the high half, so it names symbols minus OFFSET.

.set OFFSET, 0xffffffff80000000

.section .boot.header, "a"
.balign 8
multiboot1_header:
.set MB1_FLAGS, 0x00010003          # page-aligned modules, memory map, addresses below are valid
    .long 0x1BADB002
    .long MB1_FLAGS
    .long -(0x1BADB002 + MB1_FLAGS)
    .long multiboot1_header - OFFSET
    .long load_base_physical
    .long load_end_physical
    .long image_end_physical
    .long entry_physical
.balign 8
multiboot2_header:
    .long 0xE85250D6
    .long 0
    .long multiboot2_end - multiboot2_header
    .long -(0xE85250D6 + (multiboot2_end - multiboot2_header))
    .short 2, 0                     # addresses
    .long 24
    .long multiboot2_header - OFFSET
    .long load_base_physical
    .long load_end_physical
    .long image_end_physical
.balign 8
    .short 3, 0                     # entry address
    .long 12
    .long entry_physical
.balign 8
    .short 6, 0                     # modules on page boundaries
    .long 8
.balign 8
    .short 0, 0
    .long 8
multiboot2_end:

.section .boot.text, "ax"
.code32
.global entry32
entry32:
    cli
    cld
    movl $(boot_stack_end - OFFSET), %esp
    movl %eax, %esi                 # Multiboot magic
    movl %ebx, %ebp                 # Multiboot information
    # Zero what the file does not hold.
    movl $(load_end - OFFSET), %edi
    movl $(image_end - OFFSET), %ecx
    subl %edi, %ecx
    shrl $2, %ecx                   # both ends are page-aligned
    xorl %eax, %eax
    rep stosl
    movl %esi, %edi
    # Long mode is a must; without it there is nobody to tell but the serial port.
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx
    jz no_long_mode
    # Boot tables: the first 4 GiB at 0, at the direct map (slot 256) and, the first GiB of it, at the image (slot 511).
    movl $(boot_pdpt - OFFSET + 3), %eax
    movl %eax, boot_pml4 - OFFSET
    movl %eax, boot_pml4 - OFFSET + 256 * 8
    movl $(boot_image_pdpt - OFFSET + 3), %eax
    movl %eax, boot_pml4 - OFFSET + 511 * 8
    movl $(boot_pd - OFFSET + 3), %eax
    movl %eax, boot_image_pdpt - OFFSET + 510 * 8
    movl $4, %ecx
    movl $(boot_pdpt - OFFSET), %ebx
2:  movl %eax, (%ebx)
    addl $4096, %eax
    addl $8, %ebx
    loop 2b
    movl $0x83, %eax                # present, writable, 2 MiB
    movl $(boot_pd - OFFSET), %ebx
    movl $2048, %ecx
3:  movl %eax, (%ebx)
    addl $0x200000, %eax
    addl $8, %ebx
    loop 3b
    movl %ebp, %esi
    call enter_long_mode
    ljmp $0x08, $(boot_entry64 - OFFSET)
.code64
boot_entry64:
    movabsq $boot_entry_high, %rax
    jmpq *%rax
boot_entry_high:
    movq $boot_stack_end, %rsp
    xorl %ebp, %ebp
    movl %edi, %edi                 # first argument: the magic
    movl %esi, %esi                 # second argument: the information's address
    call {boot_main}
    ud2

.code32
# Switches on PAE, long mode, no-execute and paging over the boot tables, and loads a flat GDT. Changes eax, ecx, edx.
enter_long_mode:
    lgdt boot_gdt_pointer - OFFSET
    movl %cr4, %eax
    orl $(1 << 5), %eax
    movl %eax, %cr4
    movl $(boot_pml4 - OFFSET), %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $((1 << 8) | (1 << 11)), %eax
    wrmsr
    movl $0x80010011, %eax          # paging, write protection, extension type, protection
    movl %eax, %cr0
    ret

no_long_mode:
    movl $(no_long_mode_text - OFFSET), %esi
    movl $0x3F8, %edx
6:  lodsb
    testb %al, %al
    jz 7f
    outb %al, %dx
    jmp 6b
7:  cli
    hlt
    jmp 7b
no_long_mode_text:
    .asciz "Zemin: this processor has no 64-bit mode; Zemin cannot run here.\r\n"

.balign 8
boot_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
boot_gdt_pointer:
    .short 31
    .long boot_gdt - OFFSET

# --- the other LPs -----------------------------------------------------------------------------------------------
# Copied to a page below 1 MiB, where a startup IPI starts it in real mode with CS = page and IP = 0.
.balign 16
.code16
.global trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebx
    shll $4, %ebx                   # linear address of the page
    leal (trampoline_gdt - trampoline_start)(%ebx), %eax
    movl %eax, trampoline_gdt_pointer - trampoline_start + 2
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    # A far jump to 32-bit code at the linear address of the page.
    leal (trampoline32 - trampoline_start)(%ebx), %eax
    movl %eax, trampoline_far - trampoline_start
    ljmpl *(trampoline_far - trampoline_start)
.code32
trampoline32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $(ap_entry32 - OFFSET), %ecx
    jmp *%ecx
.balign 8
trampoline_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
trampoline_gdt_pointer:
    .short 31
    .long 0
trampoline_far:
    .long 0
    .short 0x18
.global trampoline_end
trampoline_end:

ap_entry32:
    movl $(boot_stack_end - OFFSET), %esp
    call enter_long_mode
    ljmp $0x08, $(ap_entry64 - OFFSET)
.code64
ap_entry64:
    movabsq $ap_entry_high, %rax
    jmpq *%rax
ap_entry_high:
    movw $0x10, %ax
    movw %ax, %ss
    movw %ax, %ds
    movw %ax, %es
    # From the boot tables to the hypervisor's own, and to this LP's stack: one LP comes up at a time.
    movq {ap_root}(%rip), %rax
    movq {ap_stack}(%rip), %rcx
    movq {ap_lp}(%rip), %rdi
    movq %rax, %cr3
    movq %rcx, %rsp
    xorl %ebp, %ebp
    call {ap_main}
    ud2

.section .bss, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_image_pdpt: .skip 4096
boot_pd: .skip 4 * 4096
boot_tables_end:
.global boot_guard
boot_guard: .skip 4096              # not mapped in the hypervisor's own address space
.global boot_stack_end
boot_stack: .skip 16384
boot_stack_end:
.text
