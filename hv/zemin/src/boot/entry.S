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
    mov esp, offset boot_stack_end - OFFSET
    mov esi, eax                    # Multiboot magic
    mov ebp, ebx                    # Multiboot information
    # Zero what the file does not hold.
    mov edi, offset load_end - OFFSET
    mov ecx, offset image_end - OFFSET
    sub ecx, edi
    xor eax, eax
    rep stosb
    mov edi, esi
    # Long mode is a must; without it there is nobody to tell but the screen and the serial port.
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    test edx, 1 << 29
    jz no_long_mode
    # Boot tables: the first 4 GiB at 0, at the direct map (slot 256) and, the first GiB of it, at the image (slot 511).
    mov eax, offset boot_pdpt - OFFSET + 3
    mov [boot_pml4 - OFFSET], eax
    mov [boot_pml4 - OFFSET + 256 * 8], eax
    mov eax, offset boot_image_pdpt - OFFSET + 3
    mov [boot_pml4 - OFFSET + 511 * 8], eax
    mov eax, offset boot_pd - OFFSET + 3
    mov [boot_image_pdpt - OFFSET + 510 * 8], eax
    mov ecx, 4
    mov ebx, offset boot_pdpt - OFFSET
2:  mov [ebx], eax
    add eax, 4096
    add ebx, 8
    loop 2b
    mov eax, 0x83                   # present, writable, 2 MiB
    mov ebx, offset boot_pd - OFFSET
    mov ecx, 2048
3:  mov [ebx], eax
    add eax, 0x200000
    add ebx, 8
    loop 3b
    mov esi, ebp
    call enter_long_mode
    ljmp 0x08, offset 4f - OFFSET
.code64
4:  mov rax, offset 5f
    jmp rax
5:  mov rsp, offset boot_stack_end
    xor ebp, ebp
    mov edi, edi                    # first argument: the magic
    mov esi, esi                    # second argument: the information's address
    call {boot_main}
    ud2

.code32
# Switches on PAE, long mode, no-execute and paging over the boot tables, and loads a flat GDT. Changes eax, ecx, edx.
enter_long_mode:
    lgdt [boot_gdt_pointer - OFFSET]
    mov eax, cr4
    or eax, 1 << 5
    mov cr4, eax
    mov eax, offset boot_pml4 - OFFSET
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, (1 << 8) | (1 << 11)
    wrmsr
    mov eax, 0x80010011             # paging, write protection, extension type, protection
    mov cr0, eax
    ret

no_long_mode:
    mov esi, offset no_long_mode_text - OFFSET
    mov edx, 0x3F8
6:  lodsb
    test al, al
    jz 7f
    out dx, al
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
    mov ax, cs
    mov ds, ax
    movzx ebx, ax
    shl ebx, 4                      # linear address of the page
    lea eax, [ebx + (trampoline_gdt - trampoline_start)]
    mov [trampoline_gdt_pointer - trampoline_start + 2], eax
    lgdtd [trampoline_gdt_pointer - trampoline_start]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    # A far return to 32-bit code at the linear address of the page.
    lea eax, [ebx + (trampoline32 - trampoline_start)]
    mov [trampoline_far - trampoline_start], eax
    ljmpd [trampoline_far - trampoline_start]
.code32
trampoline32:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov ecx, offset ap_entry32 - OFFSET
    jmp ecx
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
    mov esp, offset boot_stack_end - OFFSET
    call enter_long_mode
    ljmp 0x08, offset 8f - OFFSET
.code64
8:  mov rax, offset 9f
    jmp rax
9:  mov ax, 0x10
    mov ss, ax
    mov ds, ax
    mov es, ax
    # From the boot tables to the hypervisor's own, and to this LP's stack: one LP comes up at a time.
    mov rax, [rip + {ap_root}]
    mov rsp, [rip + {ap_stack}]
    mov rdi, [rip + {ap_lp}]
    mov cr3, rax
    xor ebp, ebp
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
.global boot_stack_end
boot_stack: .skip 16384
boot_stack_end:
.text
