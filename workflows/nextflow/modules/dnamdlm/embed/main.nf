process DNAMDLM_EMBED {
    tag "$meta.id"
    label 'process_medium'
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta), path(bed), val(shard)
    path model

    output:
    tuple val(meta), path("${prefix}.${suffix}")      , emit: embeddings, optional: true
    tuple val(meta), path("${prefix}.${suffix}.parts"), emit: parts     , optional: true
    tuple val("${task.process}"), val('dnamdlm'), eval("dnamdlm --version | sed 's/dnamdlm //'"), topic: versions, emit: versions_dnamdlm

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: ''
    prefix    = task.ext.prefix ?: "${meta.id}"
    suffix    = task.ext.suffix ?: 'parquet'
    def where = bed ? "data.bed=${bed}" : ''
    def using = model ? "model=${model}" : ''
    def share = shard ? "shard=${shard}" : ''
    """
    dnamdlm embed \\
        data.fasta=${fasta} \\
        data.cache_dir=cache \\
        out=${prefix}.${suffix} \\
        threads=${task.cpus} \\
        ${where} \\
        ${using} \\
        ${share} \\
        ${args}
    """

    stub:
    prefix     = task.ext.prefix ?: "${meta.id}"
    suffix     = task.ext.suffix ?: 'parquet'
    def target = shard ? "${prefix}.${suffix}.parts/manifest.json" : "${prefix}.${suffix}"
    """
    mkdir -p \$(dirname ${target})
    touch ${target}
    """
}
