process DNAMDLM_TRAIN {
    tag "$meta.id"
    label 'process_high'
    label 'process_long'
    label 'process_gpu'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(fasta), path(annotation)

    output:
    tuple val(meta), path("${prefix}"), emit: run
    tuple val("${task.process}"), val('dnamdlm'), eval("dnamdlm --version | sed 's/dnamdlm //'"), topic: versions, emit: versions_dnamdlm

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: 'config=genome'
    prefix    = task.ext.prefix ?: "${meta.id}"
    def genes = annotation ? "data.annotation=${annotation}" : 'data.annotation=null'
    """
    dnamdlm train \\
        ${args} \\
        data.fasta=${fasta} \\
        data.cache_dir=cache \\
        ${genes} \\
        run_dir=${prefix}
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir -p ${prefix}/checkpoints
    touch ${prefix}/config.yaml
    """
}
