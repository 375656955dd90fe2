process DNAMDLM_SCORE {
    tag "$meta.id"
    label 'process_medium'
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(variants), path(index), val(shard)
    tuple val(meta2), path(fasta)
    path model

    output:
    tuple val(meta), path("${prefix}.${suffix}")      , emit: scores, optional: true
    tuple val(meta), path("${prefix}.${suffix}.tbi")  , emit: tbi   , optional: true
    tuple val(meta), path("${prefix}.${suffix}.parts"), emit: parts , optional: true
    tuple val("${task.process}"), val('dnamdlm'), eval("dnamdlm --version | sed 's/dnamdlm //'"), topic: versions, emit: versions_dnamdlm

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: ''
    prefix    = task.ext.prefix ?: "${meta.id}"
    suffix    = task.ext.suffix ?: 'tsv'
    def using = model ? "model=${model}" : ''
    def share = shard ? "shard=${shard}" : ''
    """
    dnamdlm score \\
        variants=${variants} \\
        data.fasta=${fasta} \\
        data.cache_dir=cache \\
        out=${prefix}.${suffix} \\
        threads=${task.cpus} \\
        ${using} \\
        ${share} \\
        ${args}
    """

    stub:
    prefix     = task.ext.prefix ?: "${meta.id}"
    suffix     = task.ext.suffix ?: 'tsv'
    def target = shard ? "${prefix}.${suffix}.parts/manifest.json" : "${prefix}.${suffix}"
    """
    mkdir -p \$(dirname ${target})
    touch ${target}
    """
}
