# Entries of the 256 vectors, and the place to come back to from an exception that a test provokes.

.text
.balign 16
.global trap_stubs
trap_stubs:
.set vector, 0
.rept 256
    .balign 8
    .byte 0x6A, vector              # push
    jmp trap_common
    .set vector, vector + 1
.endr

# The processor aligns the stack to 16 bytes before it pushes SS to RIP, five words. So after the vector the stack is
# aligned exactly if there was no error code; a fixed list of vectors would be wrong for an interrupt sent to one of them.
trap_common:
    testb $8, %spl
    jnz 1f
    pushq (%rsp)
    movq $-1, 8(%rsp)               # no error code
1:  pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    call {trap}
    movq %rbp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

# u64 catch_enter(function, argument, recovery: &mut [u64; 3])
# Calls function(argument) and returns 0. An exception meanwhile returns 1 from here: see `trap`.
.global catch_enter
catch_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    leaq 2f(%rip), %rax
    movq %rax, (%rdx)
    movq %rsp, 8(%rdx)
    pushfq
    popq 16(%rdx)
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    xorl %eax, %eax
2:  addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
