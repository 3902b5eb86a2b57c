# What the canary's processor runs: the steps that every guest's kernel takes on its way up. Before each a letter goes to a
# port, so that the last one tells which was not survived. Whoever runs it puts it at 0x1000 and makes page tables (0x2000),
# GDT (0x5000) and IDT (0x6000).
    .pushsection .rodata.goldsmith_canary, "a", @progbits
    .globl goldsmith_canary
    .globl goldsmith_canary_interrupt
    .globl goldsmith_canary_end

    .macro step letter
    movw $0x402, %dx
    movb $\letter, %al
    outb %al, %dx
    .endm

    .code16
goldsmith_canary:
    cli
    step 'p'
    lgdtl 0x1000 + (.Lgdt - goldsmith_canary)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $(0x1000 + (.Lprotected - goldsmith_canary))

    .code32
.Lprotected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x8000, %esp
    step 'l'
    # PAE, OSFXSR, OSXMMEXCPT
    movl $0x620, %eax
    movl %eax, %cr4
    movl $0x2000, %eax
    movl %eax, %cr3
    # EFER: LME
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    # PG and MP on, EM off
    movl %cr0, %eax
    orl $0x80000002, %eax
    andl $0xfffffffb, %eax
    movl %eax, %cr0
    ljmpl $0x18, $(0x1000 + (.Llong - goldsmith_canary))

    .code64
.Llong:
    step 's'
    # 1 + 1 in four lanes.
    movl $1, %ebx
    movd %ebx, %xmm0
    pshufd $0, %xmm0, %xmm0
    paddd %xmm0, %xmm0
    movd %xmm0, %eax
    cmpl $2, %eax
    jne .Lhalt
    # XSAVE and AVX
    movl $1, %eax
    cpuid
    andl $0x14000000, %ecx
    cmpl $0x14000000, %ecx
    jne .Ltimer
    step 'a'
    movq %cr4, %rax
    orq $0x40000, %rax
    movq %rax, %cr4
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $7, %eax
    xsetbv
    vpshufd $0, %xmm0, %xmm1
    vinsertf128 $1, %xmm1, %ymm1, %ymm1
    vaddps %ymm1, %ymm1, %ymm2
    vzeroupper
    # AVX-512
    movl $7, %eax
    xorl %ecx, %ecx
    cpuid
    testl $0x10000, %ebx
    jz .Ltimer
    step 'z'
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $0xe7, %eax
    xsetbv
    vpaddd %zmm0, %zmm0, %zmm1
    vzeroupper
.Ltimer:
    step 't'
    lidt 0x1000 + (.Lidt - goldsmith_canary)
    # The processor's own interrupt controller: on, and LINT0 lets the others' interrupts through.
    movl $0xfee00000, %eax
    movl $0x1ff, 0xf0(%rax)
    movl $0x700, 0x350(%rax)
    # These two: vectors from 0x20 and 0x28, everything masked but the timer.
    movb $0x11, %al
    outb %al, $0x20
    outb %al, $0xa0
    movb $0x20, %al
    outb %al, $0x21
    movb $0x28, %al
    outb %al, $0xa1
    movb $4, %al
    outb %al, $0x21
    movb $2, %al
    outb %al, $0xa1
    movb $1, %al
    outb %al, $0x21
    outb %al, $0xa1
    movb $0xfe, %al
    outb %al, $0x21
    movb $0xff, %al
    outb %al, $0xa1
    # The timer: once, in a millisecond.
    movb $0x30, %al
    outb %al, $0x43
    movb $0xa9, %al
    outb %al, $0x40
    movb $0x04, %al
    outb %al, $0x40
    xorl %ebx, %ebx
.Lwait:
    sti
    hlt
    cmpl $0xbea7, %ebx
    jne .Lwait
    step '.'
.Lhalt:
    cli
    hlt
    jmp .Lhalt

goldsmith_canary_interrupt:
    movl $0xbea7, %ebx
    movb $0x20, %al
    outb %al, $0x20
    iretq

.Lgdt:
    .word 0x1f
    .long 0x5000
.Lidt:
    .word 0xfff
    .quad 0x6000
goldsmith_canary_end:
    .popsection
