# Runs in real mode at 0x9000:0 after a startup IPI, and leaves what it finds at 0xA000 (see real_mode.rs).

.section .text.real_mode, "ax"
.code16
.global real_start
real_start:
    cli
    cld
    movl %edx, %ebp                 # processor signature
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x8F00, %sp
    movl $1, 0xA004
    # The interrupt table at 0 is nobody's now: vectors 0, 6 and 0x80 are ours.
    movw $0x900, %dx
    movw $(real_divide - real_start), 0x00
    movw %dx, 0x02
    movw $(real_undefined - real_start), 0x18
    movw %dx, 0x1A
    movw $(real_software - real_start), 0x200
    movw %dx, 0x202
    lidtl %cs:(real_idt - real_start)
    xorl %eax, %eax
    movw %cs, %ax
    movl %eax, 0xA008
    movl %cr0, %eax
    movl %eax, 0xA00C
    movl %ebp, 0xA010
    movl $2, 0xA004
    movl $5, %eax
    imull $7, %eax, %eax
    addl $0x1234, %eax
    movl %eax, 0xA014
    movl $0x40000000, %eax
    cpuid
    movl %ebx, 0xA018
    movl $3, 0xA004
    xorl %edi, %edi
    int $0x80
    movl %edi, 0xA01C
    movl $4, 0xA004
    xorl %edi, %edi
    ud2
    movl %edi, 0xA020
    movl $5, 0xA004
    movl $0x1B, %ecx
    rdmsr
    andl $0xFFFFF000, %eax
    movl %eax, 0xA024
    movl $6, 0xA004
    xorl %eax, %eax
    xorl %edx, %edx
    xorl %ecx, %ecx
    divw %cx
    movl %eax, 0xA028
    pushfl
    popl %eax
    andl $0x200, %eax
    movl %eax, 0xA02C
    movl $7, 0xA004
    xorl %edi, %edi
    movl $0x46, %ecx
    .byte 0x0F, 0x01, 0xD9          # VMMCALL
    nop
    movl %edi, 0xA030
    movl $8, 0xA004
    movl $0xCAFEF00D, 0xA07C
    movw $0xA07C, %si
    movw $0xA034, %di
    movsl
    # A segment with a limit of 4 GiB from a stay in protected mode.
    lgdtl %cs:(real_gdt_pointer - real_start)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  movw $8, %bx
    movw %bx, %fs
    andb $0xFE, %al
    movl %eax, %cr0
    jmp 2f
2:  movl $0x0FFF000, %ebx
    movl %fs:(%ebx), %edx
    movl $0x2468ACE0, %fs:(%ebx)
    movl %fs:(%ebx), %eax
    movl %edx, %fs:(%ebx)
    movl %eax, 0xA038
    movl $9, 0xA004
    wbinvd
    inb $0x61, %al
    movl $0x600D600D, 0xA000
3:  hlt
    jmp 3b

real_divide:
    pushw %bp
    movw %sp, %bp
    addw $2, 2(%bp)                 # over the division
    popw %bp
    iretw
real_undefined:
    movw $0x0606, %di
    pushw %bp
    movw %sp, %bp
    # UD2 has two bytes, VMMCALL three: the NOP behind it makes up for the difference.
    addw $2, 2(%bp)
    cmpl $7, 0xA004
    jne 4f
    addw $1, 2(%bp)
4:  popw %bp
    iretw
real_software:
    movl $0x1D1D, %edi
    iretw
.balign 8
real_idt:
    .short 0x3FF
    .long 0
.balign 8
real_gdt:
    .quad 0, 0x00CF93000000FFFF
real_gdt_pointer:
    .short 15
    .long 0x9000 + real_gdt - real_start
.global real_end
real_end:
.code64
.text
