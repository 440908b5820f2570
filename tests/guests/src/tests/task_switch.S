# Runs in real mode at 0x9000:0 after a startup IPI, goes on in 32-bit protected mode, and switches to another task: by a jump
# if the word at 0xA010 is 0, else by an interrupt through a task gate (see task_switch.rs).

.section .text.task_switch, "ax"
.code16
.global task_start
task_start:
    cli
    lgdtl %cs:(task_gdt_pointer - task_start)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x08, $(0x9000 + task_protected - task_start)
.code32
task_protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x8F00, %esp
    movw $0x18, %ax
    ltrw %ax
    lidtl 0x9000 + task_idt_pointer - task_start
    movl $1, 0xA000
    cmpl $0, 0xA010
    jne 1f
    ljmpl $0x20, $0
1:  int $0x20
2:  hlt
    jmp 2b
task_new:
    movl 0xA010, %eax
    movl %eax, 0xA004
    movl $0x600D600D, 0xA000
    jmp 2b

.balign 8
task_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF            # code
    .quad 0x00CF93000000FFFF            # data
    .quad 0x0000890000000067 + ((0x9000 + task_first - task_start) << 16)
    .quad 0x0000890000000067 + ((0x9000 + task_second - task_start) << 16)
task_gdt_pointer:
    .short 39
    .long 0x9000 + task_gdt - task_start
.balign 8
# Vector 0x20 alone.
task_idt:
    .quad 0x0000850000200000            # a gate to the task of selector 0x20
task_idt_pointer:
    .short 0x107
    .long 0x9000 + task_idt - task_start - 0x100
.balign 8
# Task-state segments: the first is the one that the processor leaves.
task_first:
    .fill 104, 1, 0
.balign 8
task_second:
    .fill 32, 1, 0
    .long 0x9000 + task_new - task_start    # EIP
    .long 2                                 # flags
    .fill 16, 1, 0
    .long 0x8E00                            # ESP
    .fill 12, 1, 0
    .long 0x10, 0x08, 0x10, 0x10, 0x10, 0x10    # ES, CS, SS, DS, FS, GS
    .fill 8, 1, 0
.global task_end
task_end:
.code64
.text
