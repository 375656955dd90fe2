process DNAMDLM_TRACKS {
    tag "$meta.id"
    label 'process_medium'
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta), path(bed), path(annotation), val(shard)
    path model

    output:
    tuple val(meta), path("${prefix}")      , emit: tracks, optional: true
    tuple val(meta), path("${prefix}.parts"), emit: parts , optional: true
    tuple val("${task.process}"), val('dnamdlm'), eval("dnamdlm --version | sed 's/dnamdlm //'"), topic: versions, emit: versions_dnamdlm

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: ''
    prefix    = task.ext.prefix ?: "${meta.id}"
    def where = bed ? "bed=${bed}" : ''
    def genes = annotation ? "data.annotation=${annotation}" : 'data.annotation=null'
    def using = model ? "model=${model}" : ''
    def share = shard ? "shard=${shard}" : ''
    """
    dnamdlm tracks \\
        data.fasta=${fasta} \\
        data.cache_dir=cache \\
        out=${prefix} \\
        threads=${task.cpus} \\
        ${where} \\
        ${genes} \\
        ${using} \\
        ${share} \\
        ${args}
    """

    stub:
    prefix     = task.ext.prefix ?: "${meta.id}"
    def target = shard ? "${prefix}.parts/manifest.json" : "${prefix}/hub.txt"
    """
    mkdir -p \$(dirname ${target})
    touch ${target}
    """
}
